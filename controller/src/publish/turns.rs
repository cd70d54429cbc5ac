//! The proxies that route: those that have sent requests lately, published to all so that they can take turns
//! ([`warmpath_core::view::Turn`]).
//!
//! A proxy that is connected and idle is not among them: no other proxy would use the endpoints dealt to it.

use std::collections::{BTreeMap, BTreeSet};
use warmpath_core::ids::ProcessId;
use warmpath_core::limits::PROXIES_MAX;
use warmpath_core::time::Timestamp;
use warmpath_core::wire::Proxies;

/// For how long a proxy that has sent a request counts as one that routes, in milliseconds: a pause between two bursts
/// must not make the turns of all others change.
const ROUTING_MS: u64 = 60_000;

/// The proxies that route, and the list that was last published.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// When each process last had requests under way.
    seen: BTreeMap<ProcessId, Timestamp>,
    /// The same of other replicas, as each last listed them.
    elsewhere: BTreeMap<ProcessId, Vec<ProcessId>>,
    published: Vec<ProcessId>,
}

// === impl Turns ===

impl Turns {
    /// Records that a process has requests under way.
    pub(super) fn note(&mut self, process: ProcessId, now: Timestamp) {
        if self.seen.len() < PROXIES_MAX || self.seen.contains_key(&process) {
            self.seen.insert(process, now);
        }
    }

    /// Records the proxies that route through another replica.
    pub(super) fn note_elsewhere(&mut self, replica: ProcessId, proxies: &Proxies) {
        let listed = proxies.processes.iter().take(PROXIES_MAX);
        self.elsewhere.insert(replica, listed.map(|process| ProcessId(*process)).collect());
    }

    /// Drops a process, or a replica, that is gone.
    pub(super) fn forget(&mut self, process: ProcessId) {
        self.seen.remove(&process);
        self.elsewhere.remove(&process);
    }

    /// The proxies that route through this replica.
    pub(super) fn own(&self) -> Proxies {
        Proxies { processes: self.seen.keys().map(|process| process.0).collect() }
    }

    /// The list of all, if it differs from the published one.
    pub(super) fn changed(&mut self, now: Timestamp) -> Option<Proxies> {
        self.seen.retain(|_, seen| now.ms_since(*seen) < ROUTING_MS);
        let all: BTreeSet<ProcessId> =
            self.seen.keys().chain(self.elsewhere.values().flatten()).copied().take(PROXIES_MAX).collect();
        if all.iter().eq(&self.published) {
            return None;
        }
        self.published = all.into_iter().collect();
        Some(Proxies { processes: self.published.iter().map(|process| process.0).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::{ROUTING_MS, Turns};
    use warmpath_core::ids::ProcessId;
    use warmpath_core::time::Timestamp;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    #[test]
    fn a_list_is_published_once_and_a_proxy_that_stops_is_dropped() {
        let mut turns = Turns::default();
        assert_eq!(turns.changed(at(0)), None);
        turns.note(ProcessId(7), at(10));
        turns.note(ProcessId(3), at(20));
        assert_eq!(turns.changed(at(30)).unwrap().processes, [3, 7]);
        turns.note(ProcessId(3), at(ROUTING_MS));
        assert_eq!(turns.changed(at(ROUTING_MS)), None, "the same as before");
        assert_eq!(turns.changed(at(ROUTING_MS + 10)).unwrap().processes, [3]);
        turns.forget(ProcessId(3));
        assert_eq!(turns.changed(at(ROUTING_MS + 20)).unwrap().processes, [0; 0]);
    }
}
