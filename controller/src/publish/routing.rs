//! Who routes: the proxies that have sent requests of late, told to all of them so that they can take turns
//! ([`warmpath_core::view::Turn`]).
//!
//! A proxy that is connected and idle is not among them: endpoints kept for it would be kept for nobody.

use std::collections::BTreeMap;
use warmpath_core::limits::PROXIES_MAX;
use warmpath_core::wire::Proxies;

/// For how long a proxy that has sent a request counts as one that routes, in milliseconds: a pause between two bursts
/// must not make the turns of all others change.
const ROUTING_MS: u64 = 60_000;

/// The proxies that route, and what was told of them.
#[derive(Debug, Default)]
pub(super) struct Routing {
    /// Process -> when it last had requests under way.
    seen_ms: BTreeMap<u64, u64>,
    told: Vec<u64>,
}

// === impl Routing ===

impl Routing {
    /// Notes that a process has requests under way.
    pub(super) fn note(&mut self, process: u64, now_ms: u64) {
        if self.seen_ms.len() < PROXIES_MAX || self.seen_ms.contains_key(&process) {
            self.seen_ms.insert(process, now_ms);
        }
    }

    /// Drops a process that is gone.
    pub(super) fn forget(&mut self, process: u64) {
        self.seen_ms.remove(&process);
    }

    /// The list, if it is another than the last one.
    pub(super) fn news(&mut self, now_ms: u64) -> Option<Proxies> {
        self.seen_ms.retain(|_, seen_ms| now_ms.saturating_sub(*seen_ms) < ROUTING_MS);
        if self.seen_ms.keys().eq(&self.told) {
            return None;
        }
        self.told = self.seen_ms.keys().copied().collect();
        Some(Proxies { processes: self.told.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::{ROUTING_MS, Routing};

    #[test]
    fn who_routes_is_told_once_and_who_stops_is_dropped() {
        let mut routing = Routing::default();
        assert_eq!(routing.news(0), None);
        routing.note(7, 10);
        routing.note(3, 20);
        assert_eq!(routing.news(30).unwrap().processes, [3, 7]);
        routing.note(3, ROUTING_MS);
        assert_eq!(routing.news(ROUTING_MS), None, "the same as before");
        assert_eq!(routing.news(ROUTING_MS + 10).unwrap().processes, [3]);
        routing.forget(3);
        assert_eq!(routing.news(ROUTING_MS + 20).unwrap().processes, [0; 0]);
    }
}
