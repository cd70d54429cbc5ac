//! Since when each replica of a service is as it is, by this controller's own clock, and how long replicas take to become ready.
//!
//! The API server states when a pod was created, by a clock that may differ from this one by hours. To a controller that starts, a
//! pod that is there already is new: it takes longer to find that such a pod is stuck, and nothing is decided by its age before.

use super::look::ReplicaLook;
use std::collections::BTreeMap;

/// Since when replicas are as they are.
#[derive(Clone, Debug, Default)]
pub(super) struct Ages {
    /// By name.
    replicas: BTreeMap<String, Age>,
    /// Whether a list of replicas came before: those of the first list may be older than they look.
    has_begun: bool,
}

#[derive(Clone, Copy, Debug)]
struct Age {
    /// Distinguishes it from an earlier replica of the same name.
    identity: u64,
    /// When it was first seen, or ceased to be ready, in seconds.
    since_s: f64,
    is_ready: bool,
    /// Whether it was ready before, or may have been.
    was_ready: bool,
}

// === impl Ages ===

impl Ages {
    /// Takes in which replicas there are. Returns which of them have started, and how long they took, in seconds. One that was ready
    /// before and is so again has not started: its readiness may only have failed for a moment.
    pub(super) fn note<'a>(
        &mut self,
        replicas: impl Iterator<Item = (&'a str, &'a ReplicaLook)>,
        now_s: f64,
    ) -> Vec<(&'a str, f64)> {
        let mut starts = Vec::new();
        let mut next = BTreeMap::new();
        for (name, ReplicaLook { identity, is_ready, is_asleep, .. }) in replicas {
            // One that sleeps has started, and starts no more.
            let is_ready = &(*is_ready || *is_asleep);
            let known = self.replicas.get(name).filter(|age| age.identity == *identity);
            let mut age = match known {
                Some(age) => *age,
                // A replica of the first list that starts is not timed.
                None => Age {
                    identity: *identity,
                    since_s: now_s,
                    is_ready: *is_ready,
                    was_ready: *is_ready || !self.has_begun,
                },
            };
            match (age.is_ready, is_ready) {
                (true, false) => age.since_s = now_s,
                (false, true) if !age.was_ready => starts.push((name, now_s - age.since_s)),
                _ => {}
            }
            (age.is_ready, age.was_ready) = (*is_ready, age.was_ready || *is_ready);
            next.insert(name.to_owned(), age);
        }
        self.replicas = next;
        self.has_begun = true;
        starts
    }

    /// For how long a replica has not been ready, in seconds.
    pub(super) fn of(&self, name: &str, now_s: f64) -> f64 {
        let age = self.replicas.get(name).filter(|age| !age.is_ready);
        age.map_or(0.0, |age| (now_s - age.since_s).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::{Ages, ReplicaLook};

    const NONE: [f64; 0] = [];

    /// Replicas by name, identity, and whether they are ready.
    fn note(ages: &mut Ages, replicas: &[(&str, u64, bool)], now_s: f64) -> Vec<f64> {
        let look = |(_, identity, is_ready): &(&str, u64, bool)| ReplicaLook {
            identity: *identity,
            is_ready: *is_ready,
            ..ReplicaLook::default()
        };
        let looks: Vec<ReplicaLook> = replicas.iter().map(look).collect();
        let named = replicas.iter().map(|(name, ..)| *name).zip(&looks);
        ages.note(named, now_s).into_iter().map(|(_, took_s)| took_s).collect()
    }

    #[test]
    fn a_start_is_timed_from_the_first_sight_unless_the_pod_was_there_before() {
        let mut ages = Ages::default();
        assert_eq!(note(&mut ages, &[("old", 1, false)], 100.0), NONE);
        let found = note(&mut ages, &[("old", 1, true), ("new", 2, false)], 105.0);
        assert_eq!(found, NONE, "how long it had been there is not known");
        assert_eq!((ages.of("new", 115.0), ages.of("gone", 115.0)), (10.0, 0.0));
        assert_eq!(note(&mut ages, &[("old", 1, true), ("new", 2, true)], 225.0), [120.0]);
    }

    #[test]
    fn an_engine_that_ceases_to_be_ready_is_not_as_old_as_its_pod() {
        let mut ages = Ages::default();
        note(&mut ages, &[("one", 1, true)], 0.0);
        note(&mut ages, &[("one", 1, false)], 10_000.0);
        assert!((ages.of("one", 10_015.0) - 15.0).abs() < 1e-9);
        assert_eq!(note(&mut ages, &[("one", 1, true)], 10_020.0), NONE, "it was ready before");
        assert!((ages.of("one", 10_030.0) - 0.0).abs() < 1e-9);
    }

    #[test]
    fn a_pod_with_the_name_of_an_earlier_one_is_new() {
        let mut ages = Ages::default();
        note(&mut ages, &[("x-0", 1, true)], 0.0);
        assert_eq!(note(&mut ages, &[("x-0", 2, false)], 9_000.0), NONE);
        assert!((ages.of("x-0", 9_005.0) - 5.0).abs() < 1e-9);
        assert_eq!(note(&mut ages, &[("x-0", 2, true)], 9_240.0), [240.0]);
    }
}
