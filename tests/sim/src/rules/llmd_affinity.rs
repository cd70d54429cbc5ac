//! llm-d's default since August 2026, "sticky until saturated": the affinity filter, then the fewest tokens to
//! prefill, this request's own uncached ones included.

use super::{Rule, affinity};
use crate::fleet::Fleet;
use crate::workload::Job;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct LlmdAffinity {
    next: usize,
}

// === impl LlmdAffinity ===

impl Rule for LlmdAffinity {
    fn choose(&mut self, _now_s: f64, _id: u64, job: &Job, fleet: &Fleet) -> usize {
        self.next += 1;
        let hits = fleet.hits(job);
        let passes = affinity::pass(job, &hits, fleet);
        fleet.least(self.next, |at, node| {
            (!passes[at], node.load.prefill_tokens + job.prompt_tokens - hits[at])
        })
    }
}
