//! The affinity filter, then `LMetric` among those that pass: a combination made here of two published parts.

use super::{Rule, affinity, lmetric};
use crate::fleet::Fleet;
use crate::workload::Job;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct AffinityLmetric {
    next: usize,
}

// === impl AffinityLmetric ===

impl Rule for AffinityLmetric {
    fn choose(&mut self, _now_s: f64, _id: u64, job: &Job, fleet: &Fleet) -> usize {
        self.next += 1;
        let hits = fleet.hits(job);
        let passes = affinity::pass(job, &hits, fleet);
        fleet.least(self.next, |at, node| (!passes[at], lmetric::score(node, job, hits[at])))
    }
}
