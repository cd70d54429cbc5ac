//! Puts engines to sleep where a ModelService has gone to zero and its engines stay, and wakes them.
//!
//! ```text
//!   ModelServices, their pods, Scaled ─► targets ─► sleeper (a task) ─► GET /is_sleeping, POST /sleep, /wake_up ─► engines
//!                                          │                 └─► the label of the pod: whether requests may come
//!                                          └─► a diagnosis of each ModelService ─► its status
//! ```
//!
//! Nothing is remembered but what can be seen: the label of the pod, which also says the level, and what the engine says. A leader that
//! takes over finishes what the one before it began. Each pod has a task of its own, because a wake takes as long as weights take to load.

mod engine;
mod plan;

use super::apply::Applier;
use super::retry::Retry;
use super::seen::{engines, services};
use crate::config::ObjectName;
use crate::scale::Scaled;
use crate::watch::{EnginePod, Facts};
use kube::Client;
use plan::{Known, Step, Target, step};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use warmpath_deploy::api::RoleName;
use warmpath_deploy::plan::{Diagnosis, ENDPOINT_LABEL, TAKES_REQUESTS, asleep, sleep};

/// The condition.
pub(super) const CONDITION: &str = "SleepMode";
/// Between two looks who is due.
const TICK: Duration = Duration::from_millis(500);
/// Between two looks at an engine that is as it should be: somebody may have restarted it.
const REST_INTERVAL: Duration = Duration::from_secs(10);
/// Pods that are tended at a time.
const PODS_MAX: usize = 32;
/// Bytes of an engine's words that a message has.
const WHY_BYTES_MAX: usize = 200;

/// The pods whose engines may sleep.
pub(super) type Targets = BTreeMap<ObjectName, Target>;

/// The task, and what it has found. It ends with this.
#[derive(Debug)]
pub(super) struct Sleeper {
    targets: watch::Sender<Targets>,
    pods: Pods,
}

/// What is known of pods. Its copies share one state.
#[derive(Clone, Debug, Default)]
struct Pods(Arc<Mutex<BTreeMap<ObjectName, Pod>>>);

/// What is known of a pod.
#[derive(Clone, Debug, Default)]
struct Pod {
    /// As it was when it was looked at last.
    target: Option<Target>,
    is_busy: bool,
    /// When it is looked at again, if nothing changes.
    due: Option<Instant>,
    /// Since when this leader knows that it takes no requests.
    withheld: Option<Instant>,
    is_ours: bool,
    retry: Retry,
    /// What cannot be done, in words.
    failure: Option<String>,
}

/// What tends pods.
#[derive(Clone)]
struct Hands {
    applier: Arc<Applier>,
    is_leader: watch::Receiver<bool>,
    pods: Pods,
}

/// The pods whose engines may sleep, and which of them should.
pub(super) fn targets(facts: &Facts, scaled: &Scaled) -> Targets {
    let mut found = Targets::new();
    for (name, service) in services(facts) {
        // What nothing is known of stays as it is.
        let (Some(sleep), Some(scaling)) = (sleep(&service.spec), scaled.get(name)) else { continue };
        let target = |role: RoleName, pod: &EnginePod| {
            let (ip, ports) = (pod.ip?, sleep.ports.get(&role)?);
            Some(Target {
                service: name.clone(),
                level: sleep.level,
                sleeps: scaling.roles.get(&role)?.replicas == 0,
                labelled: pod.asleep,
                addresses: ports.iter().map(|port| SocketAddr::new(ip, *port).to_string()).collect(),
            })
        };
        let of_service = engines(facts).filter(|(pod_name, pod)| {
            pod_name.namespace == name.namespace && pod.service == name.name && pod.is_endpoint
        });
        for (pod_name, pod) in of_service.filter(|(_, pod)| pod.is_ready && !pod.is_leaving) {
            let role = sleep.ports.keys().find(|role| role.as_str() == pod.role);
            if let Some(target) = role.and_then(|role| target(*role, pod)) {
                found.insert(pod_name.clone(), target);
            }
        }
    }
    found
}

// === impl Sleeper ===

impl Sleeper {
    /// Tends nothing yet.
    pub(super) fn start(client: Client, is_leader: watch::Receiver<bool>) -> Self {
        let (targets, targeted) = watch::channel(Targets::default());
        let pods = Pods::default();
        let hands = Hands { applier: Arc::new(Applier { client }), is_leader, pods: pods.clone() };
        tokio::spawn(tend_all(targeted, hands));
        Self { targets, pods }
    }

    /// Tends these from now on.
    pub(super) fn follow(&self, targets: Targets) {
        self.targets.send_if_modified(|known| {
            let is_new = *known != targets;
            *known = targets;
            is_new
        });
    }

    /// What is to be said of each ModelService whose engines may sleep.
    pub(super) fn diagnoses(&self) -> Vec<(ObjectName, Diagnosis)> {
        let (targets, pods) = (self.targets.borrow(), self.pods.lock());
        let mut by_service: BTreeMap<&ObjectName, Vec<String>> = BTreeMap::new();
        for (name, target) in targets.iter() {
            let words = by_service.entry(&target.service).or_default();
            let failure = pods.get(name).and_then(|pod| pod.failure.as_ref());
            words.extend(failure.map(|why| format!("pod {}: {why}", name.name)));
        }
        let diagnosis = |(service, words): (&ObjectName, Vec<String>)| {
            let is_fine = words.is_empty();
            let (reason, message) = if is_fine {
                ("AsItShouldBe", "engines sleep and wake as they should".to_owned())
            } else {
                ("Fails", words.join("; "))
            };
            let kind = CONDITION.to_owned();
            (service.clone(), Diagnosis { kind, is_fine, reason: reason.to_owned(), message })
        };
        by_service.into_iter().map(diagnosis).collect()
    }
}

async fn tend_all(mut targeted: watch::Receiver<Targets>, hands: Hands) {
    let mut running = JoinSet::new();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            changed = targeted.changed() => if changed.is_err() { return },
        }
        while running.try_join_next().is_some() {}
        let targets = targeted.borrow_and_update().clone();
        hands.pods.lock().retain(|name, _| targets.contains_key(name));
        for (name, target) in targets {
            if running.len() < PODS_MAX && hands.pods.lock().entry(name.clone()).or_default().begin(&target) {
                running.spawn(tend(name, target, hands.clone()));
            }
        }
    }
}

/// Looks at one pod, and does what is to be done with it.
async fn tend(name: ObjectName, mut target: Target, hands: Hands) {
    loop {
        let done = hands.act(&name, &target).await;
        let Some(step) = hands.pods.note(&name, &done) else { return };
        // The watch shows it a moment later.
        match step {
            Step::Withhold(level) => target.labelled = Some(level),
            Step::Wake(_) => {}
            Step::Rest | Step::Settle | Step::Sleep(_) | Step::Admit => return,
        }
    }
}

// === impl Hands ===

impl Hands {
    /// Does what is to be done with a pod, and says what that was.
    async fn act(&self, name: &ObjectName, target: &Target) -> Result<Step, String> {
        let known = self.known(name, target).await?;
        let step = step(target, known);
        if !*self.is_leader.borrow() {
            return Ok(Step::Rest);
        }
        let at = &target.addresses;
        match step {
            Step::Rest | Step::Settle => {}
            Step::Withhold(level) => self.label(name, &asleep(level)).await?,
            Step::Admit => self.label(name, TAKES_REQUESTS).await?,
            Step::Sleep(level) => {
                self.pods.sends_to_sleep(name);
                engine::each(at, |at| engine::sleep(at, level)).await.map_err(cannot("be put to sleep"))?;
            }
            Step::Wake(level) => {
                engine::each(at, |at| engine::wake(at, level)).await.map_err(cannot("be woken"))?;
                if engine::asleep(at).await? > 0 {
                    return Err("it still sleeps after it was woken".to_owned());
                }
            }
        }
        if step != Step::Rest && step != Step::Settle {
            let pod = name.to_string();
            tracing::info!(pod, service = %target.service, ?step, "an engine that may sleep");
        }
        Ok(step)
    }

    async fn known(&self, name: &ObjectName, target: &Target) -> Result<Known, String> {
        let asleep = engine::asleep(&target.addresses).await?;
        let is_drained = target.sleeps && target.labelled.is_some() && asleep < target.addresses.len();
        let is_idle = is_drained && engine::are_idle(&target.addresses).await?;
        let (withheld, is_ours) = self.pods.withheld(name);
        Ok(Known { engines: target.addresses.len(), asleep, is_idle, withheld, is_ours })
    }

    async fn label(&self, name: &ObjectName, value: &str) -> Result<(), String> {
        let patch: Value = json!({"metadata": {"labels": {ENDPOINT_LABEL: value}}});
        let labelled = self.applier.mark(name, &patch).await;
        labelled.map_err(|failure| format!("its label cannot be changed: {failure:?}"))
    }
}

fn cannot(what: &str) -> impl Fn(String) -> String {
    move |why| {
        let end = why.floor_char_boundary(WHY_BYTES_MAX);
        format!("it cannot {what}: {}", why.get(..end).unwrap_or_default())
    }
}

// === impl Pod ===

impl Pod {
    /// Begins a look if one is due. `false`: none is.
    fn begin(&mut self, target: &Target) -> bool {
        let now = Instant::now();
        let is_changed = self.target.as_ref() != Some(target) && !self.retry.waits(now);
        let is_due = is_changed || self.due.is_none_or(|due| due <= now);
        if self.is_busy || !is_due {
            return false;
        }
        if target.labelled.is_none() {
            (self.withheld, self.is_ours) = (None, false);
        } else if self.withheld.is_none() {
            self.withheld = Some(now);
        }
        self.target = Some(target.clone());
        self.is_busy = true;
        true
    }
}

// === impl Pods ===

impl Pods {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectName, Pod>> {
        // No update leaves it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a pod has taken no requests, and whether nobody else can have sent it to sleep.
    fn withheld(&self, name: &ObjectName) -> (Duration, bool) {
        let pods = self.lock();
        let pod = pods.get(name);
        let since = pod.and_then(|pod| pod.withheld).map(|since| since.elapsed());
        (since.unwrap_or_default(), pod.is_some_and(|pod| pod.is_ours))
    }

    fn sends_to_sleep(&self, name: &ObjectName) {
        if let Some(pod) = self.lock().get_mut(name) {
            pod.is_ours = false;
        }
    }

    /// Takes in what was done. Returns the step, unless it failed or the pod is gone.
    fn note(&self, name: &ObjectName, done: &Result<Step, String>) -> Option<Step> {
        let now = Instant::now();
        let mut pods = self.lock();
        let pod = pods.get_mut(name)?;
        pod.retry = pod.retry.after(done.is_err(), false, now);
        match done {
            Ok(step) => {
                pod.failure = None;
                match step {
                    Step::Withhold(_) => (pod.withheld, pod.is_ours) = (Some(now), true),
                    Step::Wake(_) => pod.is_ours = true,
                    Step::Rest | Step::Settle | Step::Sleep(_) | Step::Admit => {}
                }
                pod.due = Some(if *step == Step::Rest { now + REST_INTERVAL } else { now });
                pod.is_busy = matches!(step, Step::Withhold(_) | Step::Wake(_));
                Some(*step)
            }
            Err(why) => {
                if pod.failure.as_ref() != Some(why) {
                    tracing::warn!(pod = %name, why, "an engine that may sleep");
                }
                pod.failure = Some(why.clone());
                (pod.due, pod.is_busy) = (pod.retry.due, false);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
