//! Puts engines to sleep where a ModelService has gone to zero and its engines stay, and wakes them.
//!
//! ```text
//!   ModelServices, their pods, Scaled ─► targets ─► sleeper (a task) ─► GET /is_sleeping, POST /sleep, /wake_up ─► engines
//!                                          │                 └─► the label of the pod: whether requests may come
//!                                          └─► a diagnosis of each ModelService ─► its status
//! ```
//!
//! Nothing is remembered that a next leader would need: the label of the pod says its level, and whether it was sent to sleep and how that
//! ended is not known. A leader that takes over finishes what the one before it began. Each pod has a task of its own, because a wake
//! takes as long as weights take to load.

mod engine;
mod plan;
mod pods;
mod targets;

pub(super) use targets::{Targets, targets};

use super::apply::Applier;
use crate::config::ObjectName;
use kube::Client;
use plan::{Known, SETTLE_MAX, Step, Target, step};
use pods::Pods;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use warmpath_deploy::plan::{Asleep, Diagnosis, ENDPOINT_LABEL, TAKES_REQUESTS};

/// The condition.
pub(super) const CONDITION: &str = "SleepMode";
/// Between two looks who is due.
const TICK: Duration = Duration::from_millis(500);
/// Pods that are put to sleep, or looked at while they sleep, at a time. A pod that is woken waits for none of them.
const SLEEPS_MAX: usize = 32;
/// Bytes of an engine's words that a message has.
const WHY_BYTES_MAX: usize = 200;

/// The task, and what it has found. It ends with this.
#[derive(Debug)]
pub(super) struct Sleeper {
    targets: watch::Sender<Targets>,
    pods: Pods,
}

/// Why nothing came of a look at a pod.
struct Failed {
    why: String,
    /// Whether it is the engine that fails, and not the API server.
    is_of_engine: bool,
}

/// What tends pods.
#[derive(Clone)]
struct Hands {
    applier: Arc<Applier>,
    is_leader: watch::Receiver<bool>,
    pods: Pods,
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
        hands.pods.retain(|name| targets.contains_key(name));
        let mut sleeps = hands.pods.lock().values().filter(|pod| pod.is_busy_with_sleep()).count();
        for (name, target) in targets {
            if target.sleeps && sleeps >= SLEEPS_MAX {
                continue;
            }
            let begun = hands.pods.lock().entry(name.clone()).or_default().begin(&target);
            if let Some(target) = begun {
                sleeps += usize::from(target.sleeps);
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
            Step::Withhold(level) => target.labelled = Some(Asleep::at(level)),
            Step::Sleep(level) => target.labelled = Some(Asleep { level, sent: Some(target.restarts) }),
            Step::Wake(_) => {}
            _ => return,
        }
    }
}

// === impl Failed ===

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self { why, is_of_engine: true }
    }
}

// === impl Hands ===

impl Hands {
    /// Does what is to be done with a pod, and says what that was.
    async fn act(&self, name: &ObjectName, target: &Target) -> Result<Step, Failed> {
        let step = if !target.sleeps && self.pods.is_lost(name) {
            Step::Replace
        } else {
            step(target, self.known(name, target).await?)
        };
        if !*self.is_leader.borrow() {
            return Ok(Step::Rest);
        }
        let at = &target.addresses;
        match step {
            Step::Rest | Step::Unsure | Step::Restarted | Step::Settle => {}
            Step::Withhold(level) | Step::Confirm(level) => self.label(name, &Asleep::at(level)).await?,
            Step::Admit => self.label(name, &TAKES_REQUESTS).await?,
            Step::Sleep(level) => {
                self.label(name, &Asleep { level, sent: Some(target.restarts) }).await?;
                self.pods.sends_to_sleep(name, target.restarts);
                engine::each(at, |at| engine::sleep(at, level)).await.map_err(cannot("be put to sleep"))?;
            }
            Step::Wake(level) => {
                engine::each(at, |at| engine::wake(at, level)).await.map_err(cannot("be woken"))?;
                if engine::asleep(at).await? > 0 {
                    return Err("it still sleeps after it was woken".to_owned().into());
                }
            }
            Step::Replace => self.replace(name).await?,
        }
        if !matches!(step, Step::Rest | Step::Unsure | Step::Restarted | Step::Settle) {
            let pod = name.to_string();
            tracing::info!(pod, service = %target.service, ?step, "an engine that may sleep");
        }
        Ok(step)
    }

    async fn known(&self, name: &ObjectName, target: &Target) -> Result<Known, Failed> {
        let engines = target.addresses.len();
        let asleep = engine::asleep(&target.addresses).await;
        let is_unsure = target.labelled.is_some_and(|asleep| asleep.sent.is_some()) && !self.pods.fell(name);
        // Where the end of a sleep is not known, an engine that does not respond is no better than one that sleeps.
        let asleep = if is_unsure { asleep.unwrap_or(engines) } else { asleep? };
        let is_drained = target.sleeps && target.labelled.is_some() && !is_unsure && asleep < engines;
        let is_idle = is_drained && engine::are_idle(&target.addresses).await?;
        let known = self.pods.known(name, (engines, asleep), is_idle);
        if is_drained && !is_idle && known.withheld >= SETTLE_MAX {
            let minutes = SETTLE_MAX.as_secs() / 60;
            return Err(format!(
                "it has requests, or holds their cache, {minutes} minutes after the last one"
            )
            .into());
        }
        Ok(known)
    }

    async fn label(&self, name: &ObjectName, value: &impl ToString) -> Result<(), Failed> {
        let patch: Value = json!({"metadata": {"labels": {ENDPOINT_LABEL: value.to_string()}}});
        let labelled = self.applier.mark(name, &patch).await;
        labelled.map_err(|failure| Failed {
            why: format!("its label cannot be changed: {failure:?}"),
            is_of_engine: false,
        })
    }

    /// Deletes a pod, which has no requests: what made it makes another one.
    async fn replace(&self, name: &ObjectName) -> Result<(), Failed> {
        self.pods.replaces(name);
        let deleted = self.applier.delete_pod(name).await;
        deleted.map_err(|failure| Failed {
            why: format!("its engine cannot be woken, and it cannot be deleted: {failure:?}"),
            is_of_engine: false,
        })
    }
}

fn cannot(what: &str) -> impl Fn(String) -> String {
    move |why| {
        let end = why.floor_char_boundary(WHY_BYTES_MAX);
        format!("it cannot {what}: {}", why.get(..end).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
