//! The least work before the first token, for fleets whose engines share one endless cache: the bound.
//!
//! No rule can do better on the cache, and with a cache that is the same everywhere, the least queue is as even
//! as a choice at arrival can be.

use super::Formula;
use crate::fleet::Among;
use crate::workload::Job;

/// See the module.
#[derive(Debug, Default)]
pub struct Endless {
    next: usize,
}

// === impl Endless ===

impl Formula for Endless {
    fn choose(&mut self, _job: &Job, among: Among<'_>) -> usize {
        self.next += 1;
        among.least(self.next, |_, node| (node.load.prefill_tokens, node.load.context_tokens))
    }
}
