//! Since when each pod of a service is there, by this controller's own clock, and how long pods take to become ready.
//!
//! The API server states when a pod was created, by a clock that may differ from this one by hours. To a controller that starts, a
//! pod that is there already is new: it takes longer to find that such a pod is stuck, and nothing is decided by its age before.

use std::collections::BTreeMap;

/// Since when pods are there.
#[derive(Clone, Debug, Default)]
pub(super) struct Ages {
    /// By the pod's name: when it was first seen, in seconds, and whether it was ready by then or has become so.
    pods: BTreeMap<String, (f64, bool)>,
    /// Whether a list of pods came before: those of the first list may be older than they look.
    has_begun: bool,
}

// === impl Ages ===

impl Ages {
    /// Takes in which pods there are, and which of them are ready. Returns which have become so, and how long they took, in
    /// seconds.
    pub(super) fn note<'a>(
        &mut self,
        pods: impl Iterator<Item = (&'a str, bool)>,
        now_s: f64,
    ) -> Vec<(&'a str, f64)> {
        let mut starts = Vec::new();
        let mut next = BTreeMap::new();
        for (name, is_ready) in pods {
            let known = self.pods.get(name).copied();
            let (since_s, was_ready) = known.unwrap_or((now_s, is_ready || !self.has_begun));
            if is_ready && !was_ready {
                starts.push((name, now_s - since_s));
            }
            // A pod of the first list that starts is not timed.
            next.insert(name.to_owned(), (since_s, was_ready || is_ready));
        }
        self.pods = next;
        self.has_begun = true;
        starts
    }

    /// How long a pod has been there, in seconds.
    pub(super) fn of(&self, name: &str, now_s: f64) -> f64 {
        self.pods.get(name).map_or(0.0, |(since_s, _)| (now_s - since_s).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::Ages;

    #[test]
    fn a_start_is_timed_from_the_first_sight_unless_the_pod_was_there_before() {
        let mut ages = Ages::default();
        let mut note =
            |pods: &[(&'static str, bool)], now_s| (ages.note(pods.iter().copied(), now_s), ages.clone());
        assert_eq!(note(&[("old", false)], 100.0).0, []);
        assert_eq!(
            note(&[("old", true), ("new", false)], 105.0).0,
            [],
            "how long it had been there is not known"
        );
        let (starts, ages) = note(&[("old", true), ("new", true)], 225.0);
        assert_eq!(starts, [("new", 120.0)]);
        assert_eq!((ages.of("new", 230.0), ages.of("gone", 230.0)), (125.0, 0.0));
        assert_eq!(note(&[("new", false)], 240.0).0, []);
        assert_eq!(note(&[("new", true)], 250.0).0, [], "it was ready before");
    }
}
