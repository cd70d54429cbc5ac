//! The affinity filter, then the least marginal latency with eviction among those that pass: a combination made here;
//! the filter is llm-d's, and what eviction costs follows Preble.

use super::{Formula, affinity, marginal};
use crate::fleet::Among;
use crate::workload::Job;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct AffinityMarginal {
    next: usize,
}

// === impl AffinityMarginal ===

impl Formula for AffinityMarginal {
    fn choose(&mut self, job: &Job, among: Among<'_>) -> usize {
        self.next += 1;
        let hits = among.hits(job);
        let passes = affinity::pass(job, &hits, among);
        among.least(self.next, |at, node| (!passes[at], marginal::seconds(node, job, hits[at])))
    }
}
