//! Whether the prefill engines of a pool hand anything over at all.
//!
//! An engine without a connector responds to a prefill leg like any other, only without what the decode leg needs. Where all engines
//! of a pool are like that, each request would be computed twice. So after a few of them its requests stay whole for a while.

use crate::time::Timestamp;
use std::collections::BTreeMap;

/// Legs in a row that hand nothing over before requests stay whole. One engine alone is found out by comparison with the others.
const FAILURES_MAX: u32 = 4;
/// For how long requests then stay whole, in milliseconds: a wrong flag is not mended sooner.
const PAUSE_MS: u64 = 30_000;

/// By pool; only those whose last leg handed nothing over.
#[derive(Debug, Default)]
pub(in crate::router) struct Handovers(BTreeMap<String, Failing>);

#[derive(Clone, Copy, Debug, Default)]
struct Failing {
    in_a_row: u32,
    since: Timestamp,
}

// === impl Handovers ===

impl Handovers {
    /// A leg has handed something over.
    pub(super) fn note_good(&mut self, pool: &str) {
        self.0.remove(pool);
    }

    /// A leg has handed nothing over. Returns whether requests of the pool stay whole from now on.
    pub(super) fn note_bad(&mut self, pool: &str, now: Timestamp) -> bool {
        let failing = self.0.entry(pool.to_owned()).or_default();
        failing.in_a_row = failing.in_a_row.saturating_add(1);
        failing.since = now;
        failing.in_a_row >= FAILURES_MAX
    }

    /// Whether requests of a pool stay whole. The first one after the pause may fail again, and prolong it.
    pub(super) fn are_missing(&self, pool: &str, now: Timestamp) -> bool {
        self.0
            .get(pool)
            .is_some_and(|failing| failing.in_a_row >= FAILURES_MAX && now.ms_apart(failing.since) < PAUSE_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_that_never_hands_over_is_left_alone_and_tried_again_later() {
        let mut handovers = Handovers::default();
        let at = Timestamp::from_ms;
        for number in 1..FAILURES_MAX {
            assert!(!handovers.note_bad("p", at(u64::from(number))));
        }
        assert!(!handovers.are_missing("p", at(5)));
        assert!(handovers.note_bad("p", at(10)));
        assert!(handovers.are_missing("p", at(11)) && !handovers.are_missing("q", at(11)));
        assert!(!handovers.are_missing("p", at(10 + PAUSE_MS)));
        assert!(handovers.note_bad("p", at(10 + PAUSE_MS)), "one is enough the next time");
        handovers.note_good("p");
        assert!(!handovers.are_missing("p", at(11 + PAUSE_MS)));
    }
}
