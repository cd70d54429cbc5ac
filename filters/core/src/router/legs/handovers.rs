//! Whether requests in two legs come to anything in a pool.
//!
//! Two steps may fail each time, whatever the engine: one without a connector responds to a prefill leg like any other, only without what
//! the decode leg needs; and a decode engine that cannot reach the prefill engine, or has another connector, fails with what it gets.
//! Each request would be computed twice, and a stream of which the head has gone out is lost. So after a few in a row the requests of the
//! pool stay whole for a while. One engine alone is found out by comparison with the others.

use crate::time::Timestamp;
use std::collections::BTreeMap;

/// Failures in a row before requests stay whole.
const FAILURES_MAX: u32 = 4;
/// For how long requests then stay whole, in milliseconds: a wrong flag is not mended sooner.
const PAUSE_MS: u64 = 30_000;

/// What has to come of a request in two legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::router) enum Step {
    /// The prefill leg's response has what the decode leg needs.
    HandOver,
    /// The decode leg's engine generates with it.
    Fetch,
}

/// By step and pool; only those of which the last one failed.
#[derive(Debug, Default)]
pub(in crate::router) struct Handovers(BTreeMap<String, BTreeMap<Step, Failing>>);

#[derive(Clone, Copy, Debug, Default)]
struct Failing {
    in_a_row: u32,
    since: Timestamp,
}

// === impl Handovers ===

impl Handovers {
    /// A step has succeeded.
    pub(super) fn note_good(&mut self, step: Step, pool: &str) {
        if let Some(steps) = self.0.get_mut(pool) {
            steps.remove(&step);
            if steps.is_empty() {
                self.0.remove(pool);
            }
        }
    }

    /// A step has failed. Returns whether requests of the pool stay whole from now on.
    pub(super) fn note_bad(&mut self, step: Step, pool: &str, now: Timestamp) -> bool {
        let failing = self.0.entry(pool.to_owned()).or_default().entry(step).or_default();
        failing.in_a_row = failing.in_a_row.saturating_add(1);
        failing.since = now;
        failing.in_a_row >= FAILURES_MAX
    }

    /// Whether requests of a pool stay whole. The first one after the pause may fail again, and prolong it.
    pub(super) fn are_missing(&self, pool: &str, now: Timestamp) -> bool {
        let steps = self.0.get(pool).into_iter().flat_map(BTreeMap::values);
        steps
            .into_iter()
            .any(|failing| failing.in_a_row >= FAILURES_MAX && now.ms_apart(failing.since) < PAUSE_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_that_never_hands_over_is_left_alone_and_tried_again_later() {
        for (step, other) in [(Step::HandOver, Step::Fetch), (Step::Fetch, Step::HandOver)] {
            let mut handovers = Handovers::default();
            let at = Timestamp::from_ms;
            for number in 1..FAILURES_MAX {
                assert!(!handovers.note_bad(step, "p", at(u64::from(number))));
                // Engines that hand over what nobody can fetch do so each time.
                handovers.note_good(other, "p");
            }
            assert!(!handovers.are_missing("p", at(5)));
            assert!(handovers.note_bad(step, "p", at(10)));
            assert!(handovers.are_missing("p", at(11)) && !handovers.are_missing("q", at(11)));
            assert!(!handovers.are_missing("p", at(10 + PAUSE_MS)));
            assert!(handovers.note_bad(step, "p", at(10 + PAUSE_MS)), "one is enough the next time");
            handovers.note_good(step, "p");
            assert!(!handovers.are_missing("p", at(11 + PAUSE_MS)));
        }
    }
}
