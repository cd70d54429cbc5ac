//! The least work before the first token, for fleets whose engines share one endless cache: the bound.
//!
//! No rule can do better on the cache, and with a cache that is the same everywhere, the least queue is as even
//! as a choice at arrival can be.

use super::Rule;
use crate::fleet::Fleet;
use crate::workload::Job;

/// See the module.
#[derive(Debug, Default)]
pub struct Endless {
    next: usize,
}

// === impl Endless ===

impl Rule for Endless {
    fn choose(&mut self, _now_s: f64, _id: u64, _job: &Job, fleet: &Fleet) -> usize {
        self.next += 1;
        fleet.least(self.next, |_, node| (node.load.prefill_tokens, node.load.context_tokens))
    }
}
