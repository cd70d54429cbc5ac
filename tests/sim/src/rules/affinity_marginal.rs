//! The affinity filter, then the least marginal latency with eviction among those that pass: a combination made here;
//! the filter is llm-d's, and what eviction costs follows Preble.

use super::{Rule, affinity, marginal};
use crate::fleet::Fleet;
use crate::workload::Job;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct AffinityMarginal {
    next: usize,
}

// === impl AffinityMarginal ===

impl Rule for AffinityMarginal {
    fn choose(&mut self, _now_s: f64, _id: u64, job: &Job, fleet: &Fleet) -> usize {
        self.next += 1;
        let hits = fleet.hits(job);
        let passes = affinity::pass(job, &hits, fleet);
        fleet.least(self.next, |at, node| (!passes[at], marginal::seconds(node, job, hits[at])))
    }
}
