//! The affinity filter, then `LMetric` among those that pass: a combination made here of two published parts.

use super::{Formula, affinity, lmetric};
use crate::fleet::Among;
use crate::workload::Job;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct AffinityLmetric {
    next: usize,
}

// === impl AffinityLmetric ===

impl Formula for AffinityLmetric {
    fn choose(&mut self, job: &Job, among: Among<'_>) -> usize {
        self.next += 1;
        let hits = among.hits(job);
        let passes = affinity::pass(job, &hits, among);
        among.least(self.next, |at, node| (!passes[at], lmetric::score(node, job, hits[at])))
    }
}
