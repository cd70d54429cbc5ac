//! Engines that sleep while their service is at zero, and how long they take to wake: seconds, which must not be mixed with those of starts.

use crate::watch::EnginePod;
use std::collections::{BTreeMap, BTreeSet};
use warmpath_scale::Wake;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sleepers {
    /// The pods that sleep, or are about to.
    asleep: BTreeSet<String>,
    wakes: Wake,
}

// === impl Sleepers ===

impl Sleepers {
    /// Takes in which pods sleep. One that sleeps no more has woken, within the seconds for which the service has been waking.
    pub(super) fn note(&mut self, pods: &BTreeMap<&str, &EnginePod>, waking_s: Option<f64>) {
        let is_awake = |name: &String| pods.get(name.as_str()).is_some_and(|pod| pod.asleep.is_none());
        if let Some(waking_s) = waking_s {
            self.asleep.iter().filter(|name| is_awake(name)).for_each(|_| self.wakes.note(waking_s));
        }
        let asleep = pods.iter().filter(|(_, pod)| pod.asleep.is_some() && !pod.is_leaving);
        self.asleep = asleep.map(|(name, _)| (*name).to_owned()).collect();
    }

    /// Whether any pod sleeps.
    pub(super) fn any(&self) -> bool {
        !self.asleep.is_empty()
    }

    /// Seconds that they take to wake; none before one has.
    pub(super) fn wake_s(&self) -> Option<f64> {
        self.wakes.wake_s()
    }
}
