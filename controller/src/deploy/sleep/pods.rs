//! What a leader knows of pods whose engines may sleep: what is under way, what failed, and when to look again.

use super::Failed;
use super::plan::{Known, Step, Target, is_lost};
use crate::config::ObjectName;
use crate::deploy::retry::Retry;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
#[cfg(test)]
use warmpath_deploy::plan::Asleep;

/// Between two looks at an engine that is as it should be: somebody may have restarted it.
const REST_INTERVAL: Duration = Duration::from_secs(10);
/// Between two looks at an engine that has requests.
const SETTLE_INTERVAL: Duration = Duration::from_secs(2);

/// What is known of pods. Its copies share one state.
#[derive(Clone, Debug, Default)]
pub(super) struct Pods(Arc<Mutex<BTreeMap<ObjectName, Pod>>>);

/// What is known of a pod.
#[derive(Clone, Debug, Default)]
pub(super) struct Pod {
    /// As it was when it was looked at last.
    target: Option<Target>,
    is_busy: bool,
    /// When the last look began.
    begun: Option<Instant>,
    /// When it is looked at again, if nothing changes.
    due: Option<Instant>,
    /// Since when this leader knows that it takes no requests.
    pub(super) withheld: Option<Instant>,
    /// Its restarts when this leader sent it to sleep, unless that has ended well since: the watch shows the label a moment later.
    sent: Option<u32>,
    /// Whether it fell asleep when this leader sent it to sleep last.
    fell: bool,
    retry: Retry,
    /// When the first of the tries began that have failed since one succeeded; `None`: the last one did.
    failing: Option<Instant>,
    /// What cannot be done, in words.
    pub(super) failure: Option<String>,
}

// === impl Pod ===

impl Pod {
    /// Begins a look if one is due. Returns the pod as it is known to be; `None`: no look is due.
    pub(super) fn begin(&mut self, target: &Target) -> Option<Target> {
        let now = Instant::now();
        if self.is_busy || !target.is_ready {
            return None;
        }
        if target.labelled.is_none() && !target.sleeps {
            *self = Self::default();
            return None;
        }
        let is_other = |known: &Target| (known.sleeps, known.restarts) != (target.sleeps, target.restarts);
        if self.target.as_ref().is_some_and(is_other) {
            // What failed was something else, or another process.
            (self.retry, self.failing, self.due) = (Retry::default(), None, None);
        }
        let is_changed = self.target.as_ref() != Some(target) && !self.retry.waits(now);
        let is_due = is_changed || self.due.is_none_or(|due| due <= now);
        if !is_due {
            return None;
        }
        if target.labelled.is_none() {
            self.withheld = None;
        } else if self.withheld.is_none() {
            self.withheld = Some(now);
        }
        self.target = Some(target.clone());
        (self.is_busy, self.begun) = (true, Some(now));
        let mut target = target.clone();
        if let Some(labelled) = &mut target.labelled {
            labelled.sent = labelled.sent.or(self.sent);
        }
        Some(target)
    }

    /// Nothing has succeeded since then, and the next try is due.
    #[cfg(test)]
    pub(super) fn fails_since(&mut self, since: Option<Instant>) {
        (self.failing, self.due) = (since, None);
    }

    /// Whether it is being put to sleep, or looked at while it sleeps.
    pub(super) fn is_busy_with_sleep(&self) -> bool {
        self.is_busy && self.target.as_ref().is_some_and(|target| target.sleeps)
    }
}

// === impl Pods ===

impl Pods {
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectName, Pod>> {
        // No update leaves it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the pods that are no targets, but not while something is under way with them.
    pub(super) fn retain(&self, is_target: impl Fn(&ObjectName) -> bool) {
        self.lock().retain(|name, pod| pod.is_busy || is_target(name));
    }

    /// Adds what this leader knows of a pod.
    pub(super) fn known(&self, name: &ObjectName, (engines, asleep): (usize, usize), is_idle: bool) -> Known {
        let pods = self.lock();
        let pod = pods.get(name);
        let withheld = pod.and_then(|pod| pod.withheld).map(|since| since.elapsed());
        let fell = pod.is_some_and(|pod| pod.fell);
        Known { engines, asleep, is_idle, withheld: withheld.unwrap_or_default(), fell }
    }

    /// Whether it fell asleep when this leader sent it to sleep last.
    pub(super) fn fell(&self, name: &ObjectName) -> bool {
        self.lock().get(name).is_some_and(|pod| pod.fell)
    }

    /// Whether a pod cannot be woken.
    pub(super) fn is_lost(&self, name: &ObjectName) -> bool {
        self.lock().get(name).is_some_and(|pod| {
            pod.failing.is_some_and(|since| is_lost(pod.retry.failures(), since.elapsed()))
        })
    }

    /// Takes note that a pod is sent to sleep, which begins a moment later.
    pub(super) fn sends_to_sleep(&self, name: &ObjectName, restarts: u32) {
        if let Some(pod) = self.lock().get_mut(name) {
            (pod.sent, pod.fell) = (Some(restarts), false);
        }
    }

    /// Takes note that a pod is deleted. If it stays all the same, it is tried anew.
    pub(super) fn replaces(&self, name: &ObjectName) {
        if let Some(pod) = self.lock().get_mut(name) {
            (pod.failing, pod.retry) = (None, Retry::default());
        }
    }

    /// Takes in what was done. Returns the step, unless it failed or the pod is gone.
    pub(super) fn note(&self, name: &ObjectName, done: &Result<Step, Failed>) -> Option<Step> {
        let now = Instant::now();
        let mut pods = self.lock();
        let pod = pods.get_mut(name)?;
        pod.retry = pod.retry.after(done.is_err(), false, now);
        match done {
            Ok(step) => {
                pod.failing = None;
                let before = pod.failure.take().filter(|_| *step == Step::Unsure);
                pod.failure = step.trouble().map(|words| before.unwrap_or_else(|| words.to_owned()));
                match step {
                    Step::Withhold(_) => pod.withheld = Some(now),
                    Step::Sleep(_) => (pod.sent, pod.fell) = (None, true),
                    Step::Admit => pod.sent = None,
                    _ => {}
                }
                pod.due = Some(now + if *step == Step::Settle { SETTLE_INTERVAL } else { REST_INTERVAL });
                pod.is_busy = matches!(step, Step::Withhold(_) | Step::Sleep(_) | Step::Wake(_));
                Some(*step)
            }
            Err(Failed { why, is_of_engine }) => {
                if pod.failure.as_ref() != Some(why) {
                    tracing::warn!(pod = %name, why, "an engine that may sleep");
                }
                pod.failure = Some(why.clone());
                pod.failing = pod.failing.or(pod.begun.filter(|_| *is_of_engine));
                (pod.due, pod.is_busy) = (pod.retry.due, false);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Asleep, Failed, ObjectName, Pod, Pods, Target};

    #[test]
    fn an_engine_that_ended_in_a_wake_and_is_up_again_is_not_the_one_that_could_not_be_woken() {
        let service = ObjectName { namespace: "llm".to_owned(), name: "llama".to_owned() };
        let target = |restarts, is_ready| Target {
            service: service.clone(),
            level: 1,
            sleeps: false,
            labelled: Some(Asleep::at(1)),
            restarts,
            is_ready,
            addresses: Vec::new(),
        };
        let (pods, name) = (Pods::default(), service.clone());
        pods.lock().insert(name.clone(), Pod::default());
        let begin = |target: &Target| pods.lock().get_mut(&name).unwrap().begin(target).is_some();
        assert!(begin(&target(0, true)));
        pods.note(&name, &Err(Failed::from("connection refused".to_owned())));
        assert!(pods.lock()[&name].failing.is_some());
        assert!(!begin(&target(1, false)), "it is not ready");
        assert!(begin(&target(1, true)));
        let pod = pods.lock()[&name].clone();
        assert!(pod.failing.is_none() && pod.retry.failures() == 0);
    }
}
