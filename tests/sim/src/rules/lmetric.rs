//! `LMetric` (arXiv 2603.15202): tokens to prefill, times requests at the engine, this one included in both.

use super::Formula;
use crate::fleet::{Among, Node};
use crate::workload::Job;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Lmetric {
    next: usize,
}

// === impl Lmetric ===

impl Formula for Lmetric {
    fn choose(&mut self, job: &Job, among: Among<'_>) -> usize {
        self.next += 1;
        among.least(self.next, |_, node| score(node, job, node.hit_tokens(job)))
    }
}

/// The product for one engine that holds `hit` tokens.
pub(super) fn score(node: &Node, job: &Job, hit: usize) -> usize {
    (node.load.prefill_tokens + job.prompt_tokens - hit) * (node.load.requests + 1)
}
