//! llm-d's default since August 2026, "sticky until saturated": the affinity filter, then the fewest tokens to
//! prefill, this request's own uncached ones included.

use super::{Formula, affinity};
use crate::fleet::Among;
use crate::workload::Job;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct LlmdAffinity {
    next: usize,
}

// === impl LlmdAffinity ===

impl Formula for LlmdAffinity {
    fn choose(&mut self, job: &Job, among: Among<'_>) -> usize {
        self.next += 1;
        let hits = among.hits(job);
        let passes = affinity::pass(job, &hits, among);
        among.least(self.next, |at, node| {
            (!passes[at], node.load.prefill_tokens + job.prompt_tokens - hits[at])
        })
    }
}
