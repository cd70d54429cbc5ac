//! The scaler: how many replicas each role of a ModelService should have, from what proxies, engines and the cluster show.
//!
//! ```text
//!   watches (ModelServices, their pods) ─┐
//!   Hub (requests, loads, held) ─────────┼► Look ─► Service ─► warmpath_scale::plan (pure) ─► Scaled ─► deploy (only the leader writes)
//!   scrapes (time between tokens) ───────┘             └─ what was learned, and the state of the plan
//! ```
//!
//! Each replica of the controller plans, though only the leader writes: a new leader has the history of the demand, and the model that
//! requests wait for was woken by its plan as well. The watches are its own, because those of `deploy` end with the lease.
//!
//! A tick every few seconds, and one at once when a request is held for a service that sleeps. What is not known changes nothing: a
//! controller that receives nothing of any proxy, or knows no pods, keeps the numbers.

mod asked;
mod look;
mod means;
mod pods;
mod scaled;
mod service;
mod sleepers;
mod sums;
mod wakes;

#[cfg(test)]
pub(crate) use scaled::RoleScaling;
pub(crate) use scaled::{Scaled, Scaling, Verdict};

use crate::clock::until;
use crate::config::ObjectName;
use crate::metrics::Metrics;
use crate::publish::{Shared, Taken};
use crate::telemetry::TokenTimes;
use crate::watch::{EnginePod, Facts, Followed, Item, Kind, Source, Watches};
use asked::Specs;
use fnv::FnvHashMap;
use kube::Client;
use look::Look;
use service::Service;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use wakes::Wakes;
use warmpath_core::ids::EndpointId;
use warmpath_core::num::float;
use warmpath_core::view::{Pool, View};
use warmpath_deploy::api::RoleName;
use warmpath_scale::RolePlan;

/// Between two plans.
const TICK: Duration = Duration::from_secs(5);
/// The least time between two plans of services that sleep: each request that is held asks for one.
const WAKE_INTERVAL: Duration = Duration::from_millis(200);

/// What the scaler looks at.
pub(crate) struct Inputs {
    /// The API server.
    pub(crate) client: Client,
    /// The namespaces that are followed; none: all.
    pub(crate) namespaces: Vec<String>,
    /// What proxies report.
    pub(crate) shared: Shared,
    /// How long tokens take, as scrapes show.
    pub(crate) times: TokenTimes,
    /// The pod behind each endpoint.
    pub(crate) cluster: watch::Receiver<Option<Followed>>,
    /// Where plans are shown.
    pub(crate) metrics: Arc<Metrics>,
}

/// Which services are planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    All,
    /// Those of which there is no plan yet.
    New,
    /// Those that sleep.
    Asleep,
}

struct Scaler {
    inputs: Inputs,
    specs: Specs,
    services: BTreeMap<ObjectName, Service>,
    wakes: Wakes,
    to: watch::Sender<Scaled>,
}

/// Plans until the controller stops.
pub(crate) async fn run(inputs: Inputs, to: watch::Sender<Scaled>) {
    let shared = inputs.shared.clone();
    let woken = shared.with(|hub, _| hub.woken());
    let mut watches = Watches::new(inputs.client.clone(), Arc::clone(&inputs.metrics));
    for source in Source::of_services(&inputs.namespaces, &[Kind::EnginePod]) {
        watches.open(source);
    }
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut scaler =
        Scaler { inputs, specs: Specs::default(), services: BTreeMap::new(), wakes: Wakes::default(), to };
    let (mut wake_at, mut ticked): (Option<Instant>, Instant) = (None, Instant::now());
    loop {
        tokio::select! {
            () = shared.stopped() => return,
            // What has changed is looked at with the next tick; a service that is new has one of its own.
            has_changed = watches.next() => if has_changed {
                scaler.note_sleepers(watches.facts());
                scaler.welcome(watches.facts());
            },
            _ = ticks.tick() => scaler.tick(watches.facts(), Which::All),
            () = woken.notified() => wake_at = wake_at.or(Some(ticked + WAKE_INTERVAL)),
            () = until(wake_at) => {
                (wake_at, ticked) = (None, Instant::now());
                scaler.tick(watches.facts(), Which::Asleep);
            }
        }
    }
}

/// The pods of all ModelServices by their names, by namespace and name of the service.
fn pods(facts: &Facts) -> BTreeMap<(&str, &str), BTreeMap<&str, &EnginePod>> {
    let mut found: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for (name, item) in facts.items(Kind::EnginePod) {
        if let Item::Engine(pod) = item {
            let of_service = found.entry((name.namespace.as_str(), pod.service.as_str())).or_default();
            of_service.insert(name.name.as_str(), pod);
        }
    }
    found
}

// === impl Scaler ===

impl Scaler {
    /// Plans services that have just come.
    fn welcome(&mut self, facts: &Facts) {
        if !facts.is_complete() {
            return;
        }
        self.specs.read(facts);
        if self.specs.all().any(|(name, _)| !self.services.contains_key(name)) {
            self.tick(facts, Which::New);
        }
    }

    /// Times engines that wake: the next plan may be as far off as they take.
    fn note_sleepers(&mut self, facts: &Facts) {
        if !self.specs.all().any(|(_, asked)| asked.policy.sleeps) {
            return;
        }
        let now_s = self.inputs.shared.with(|_, now| float(now.us()) / 1e6);
        let (pods, no_pods) = (pods(facts), BTreeMap::new());
        for (name, service) in &mut self.services {
            let of_service = (name.namespace.as_str(), name.name.as_str());
            service.note_sleepers(pods.get(&of_service).unwrap_or(&no_pods), now_s);
        }
    }

    fn tick(&mut self, facts: &Facts, which: Which) {
        // A request that is held for a pool that is awake, or for none of these, changes nothing before the next tick.
        if which == Which::Asleep && !self.services.values().any(Service::is_asleep) {
            return;
        }
        let taken = self.inputs.shared.with(|hub, now| {
            let objectives_ms = self.objectives_ms(hub.index().view());
            hub.take_demand(&objectives_ms, now)
        });
        self.note(&taken);
        if !facts.is_complete() {
            return;
        }
        self.specs.read(facts);
        let (followed, none) = (self.inputs.cluster.borrow(), BTreeMap::new());
        let addresses = followed.as_ref().map_or(&none, |it| &it.pods);
        self.inputs.times.retain(|address| addresses.contains_key(address));
        let (pods, no_pods) = (pods(facts), BTreeMap::new());
        let specs = &self.specs;
        self.services.retain(|name, service| specs.of(name).is_some_and(|asked| service.is_of(asked)));
        self.inputs.shared.with(|hub, now| self.wakes.retain(hub, |name| specs.of(name).is_some(), now));
        for (name, asked) in self.specs.all() {
            let service = self.services.entry(name.clone()).or_insert_with(|| Service::of(asked));
            let is_due = match which {
                Which::All => true,
                Which::New => service.plans().is_empty(),
                Which::Asleep => service.is_asleep(),
            };
            if !is_due {
                continue;
            }
            let of_service = (name.namespace.as_str(), name.name.as_str());
            let pods = pods.get(&of_service).unwrap_or(&no_pods);
            let (mut look, now_s) = self
                .inputs
                .shared
                .with(|hub, now| (Look::of(name, pods, hub, addresses), float(now.us()) / 1e6));
            let objective_s = asked.policy.objectives.inter_token_s;
            for endpoint in &mut look.endpoints {
                let address = endpoint.address.parse().ok();
                endpoint.ended =
                    address.map(|address| self.inputs.times.take(address, objective_s)).unwrap_or_default();
            }
            service.plan(asked, &look, now_s);
            self.inputs.shared.with(|hub, now| self.wakes.publish(hub, name, service, now));
        }
        drop(followed);
        self.show();
        self.publish();
    }

    /// The objective of first tokens at each endpoint, in milliseconds, as far as services were planned before.
    fn objectives_ms(&self, view: &View) -> FnvHashMap<EndpointId, f64> {
        let planned =
            self.services.iter().filter_map(|(name, service)| Some((name, service.objective_ms()?)));
        let of_pool = |(name, objective_ms): (&ObjectName, f64)| {
            let pool = view.pools().iter().find(|pool| pool.name() == pool_of(name));
            let slots = pool.into_iter().flat_map(Pool::slots);
            slots.filter_map(move |slot| Some((view.endpoint(*slot)?.id, objective_ms)))
        };
        planned.flat_map(of_pool).collect()
    }

    /// Adds what has arrived to the sums of each service.
    fn note(&mut self, taken: &Taken) {
        for (name, service) in &mut self.services {
            service.note_held(taken.held.get(&pool_of(name)).copied().unwrap_or_default());
        }
        self.inputs.shared.with(|hub, _| {
            let view = hub.index().view();
            for pool in view.pools() {
                let Some(service) = service_of(pool).and_then(|name| self.services.get_mut(&name)) else {
                    continue;
                };
                for endpoint in pool.slots().iter().filter_map(|slot| view.endpoint(*slot)) {
                    if let Some(arrived) = taken.endpoints.get(&endpoint.id) {
                        service.note_arrived(endpoint.role, &endpoint.address, arrived);
                    }
                }
            }
        });
    }

    fn publish(&self) {
        let ours =
            self.services.iter().filter(|(name, _)| self.specs.of(name).is_some_and(|it| !it.is_external));
        let scaled: Scaled =
            ours.filter_map(|(name, service)| Some((name.clone(), service.scaling()?.clone()))).collect();
        self.to.send_if_modified(|before| {
            let has_changed = !scaled::is_same(before, &scaled);
            // Who leaves first is read when somebody has to.
            *before = scaled;
            has_changed
        });
    }

    fn show(&self) {
        let plans = self.services.iter().flat_map(|(name, service)| {
            let roles = self.specs.of(name).map(|asked| asked.roles.as_slice()).unwrap_or_default();
            let of_role =
                move |(role, plan): (&RoleName, &RolePlan)| (pool_of(name), role.as_str(), plan.clone());
            roles.iter().zip(service.plans()).map(of_role).collect::<Vec<_>>()
        });
        self.inputs.metrics.scale.show(plans);
    }
}

/// The pool of a ModelService.
fn pool_of(service: &ObjectName) -> String {
    format!("{}/{}", service.namespace, service.name)
}

/// The ModelService of a pool, if it has one.
fn service_of(pool: &Pool) -> Option<ObjectName> {
    let (namespace, name) = pool.name().split_once('/')?;
    Some(ObjectName { namespace: namespace.to_owned(), name: name.to_owned() })
}
