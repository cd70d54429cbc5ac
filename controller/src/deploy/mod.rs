//! Carries out ModelServices: makes the objects that follow from each, keeps them so, and reports how they do.
//!
//! ```text
//!   watches (ModelServices, what they became, its pods) ─┬► seen ─► warmpath_deploy::plan (pure) ─► step (pure) ─► apply
//!   state of the router ─► insight ──────────────────────┤                └─► status, Events
//!   scaler (each replica's own) ─► Scaled ───────────────┴► sleep: engines that stay at zero and sleep
//! ```
//!
//! Only the replica that holds the Lease does so, and only it has these watches: one that takes over lists everything, and writes
//! what is missing. At rest it sends no requests, because what an object lacks is seen from the object itself (`difference`).
//!
//! There is no finalizer. Each object names its ModelService as its owner, so that the cluster's garbage collector removes them, also
//! when no controller is there any more. Whatever fails (the API server, the role, a manifest) changes nothing of what runs.

mod adapters;
mod apply;
pub mod definition;
mod difference;
mod events;
mod insight;
mod leaving;
mod offers;
mod pass;
mod planned;
mod quantity;
mod retry;
mod seen;
mod sleep;
mod status;
mod step;
mod writer;

use crate::api::{Api, StatePage};
use crate::clock::until;
use crate::config::{Kubernetes, ObjectName};
use crate::metrics::Metrics;
use crate::scale::Scaled;
use crate::watch::{Facts, Kind, Source, Watches};
use adapters::{Keeper, Target, Targets};
use insight::{Insights, LOOK_INTERVAL, insights};
use kube::Client;
use pass::Carrier;
use seen::services;
use sleep::Sleeper;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

/// Changes within this time are carried out together: a rollout changes a Deployment and its pods many times a second.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// What is carried out, and by whom.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where, and with what.
    pub(crate) kubernetes: Kubernetes,
    /// The port of this controller's gRPC.
    pub(crate) grpc_port: u16,
    /// The name of this pod, for Events.
    pub(crate) pod: String,
}

/// Carries out ModelServices from now on, while `is_leader` is true, and until its sender is gone.
pub(crate) async fn run(
    client: Client,
    settings: Settings,
    api: Api,
    scaled: watch::Receiver<Scaled>,
    mut is_leader: watch::Receiver<bool>,
    metrics: Arc<Metrics>,
) {
    while is_leader.wait_for(|leads| *leads).await.is_ok() {
        let carried = lead(&client, &settings, &api, scaled.clone(), is_leader.clone(), &metrics);
        tokio::select! {
            () = carried => {}
            // The one that leads next must not find this one writing.
            () = until_lost(is_leader.clone()) => tracing::info!("another replica carries out ModelServices"),
        }
    }
}

async fn until_lost(mut is_leader: watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it the lease.
    let _ = is_leader.wait_for(|leads| !*leads).await;
}

/// Carries out ModelServices while this replica leads.
async fn lead(
    client: &Client,
    settings: &Settings,
    api: &Api,
    mut scaled: watch::Receiver<Scaled>,
    is_leader: watch::Receiver<bool>,
    metrics: &Arc<Metrics>,
) {
    let mut watches = Watches::new(client.clone(), Arc::clone(metrics));
    let made: Vec<Kind> = Kind::OF_MODELS.into_iter().chain([Kind::EnginePod]).collect();
    for source in Source::of_services(&settings.kubernetes.namespaces, &made) {
        watches.open(source);
    }
    let (mut shown, keeper) = (Insights::default(), Keeper::start());
    let sleeper = Sleeper::start(client.clone(), is_leader.clone());
    let mut carrier = Carrier::new(client.clone(), settings, is_leader, Arc::clone(metrics));
    let mut looks = tokio::time::interval_at(Instant::now() + LOOK_INTERVAL, LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due: Option<Instant> = None;
    loop {
        tokio::select! {
            has_changed = watches.next() => if has_changed { due = Some(soon(due)) },
            _ = looks.tick() => {
                let state = api.state();
                keeper.follow(targets(watches.facts(), &state));
                let more = keeper.diagnoses().into_iter().chain(sleeper.diagnoses());
                if shown.take(insights(&state, more), Instant::now()) { due = Some(soon(due)) }
            }
            // What has changed of it meanwhile was not looked at.
            () = carrier.ended() => due = Some(soon(due)),
            // Requests wait for what the scaler asks for: at once.
            Ok(()) = scaled.changed() => due = Some(Instant::now()),
            () = until(due) => {
                let now = Instant::now();
                shown.scale(scaled.borrow().clone());
                due = if watches.facts().is_complete() {
                    sleeper.follow(sleep::targets(watches.facts(), &scaled.borrow()));
                    carrier.look(watches.facts(), &mut shown, now).await
                } else {
                    None
                };
            }
        }
    }
}

/// The ModelServices that pin adapters, with the engines that should have them.
fn targets(facts: &Facts, state: &StatePage) -> Targets {
    let of = |(name, service)| Some((ObjectName::clone(name), Target::of(name, &service, state)?));
    services(facts).filter_map(of).collect()
}

/// Shortly, or earlier if something is due by then.
fn soon(due: Option<Instant>) -> Instant {
    let soon = Instant::now() + DEBOUNCE;
    due.map_or(soon, |due| due.min(soon))
}
