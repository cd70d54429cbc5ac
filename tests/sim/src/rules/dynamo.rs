//! Dynamo's KV router: blocks to prefill, less what is held, plus blocks that decode; least wins.
//!
//! `logit = scale * max(0, (active prefill tokens + prompt) / block - overlap) + decode blocks`, with the default
//! scale of 1 and with the 32 that its own sweep found best.

use super::Formula;
use crate::fleet::Among;
use crate::workload::Job;

/// Tokens of a block in the formula; the ratio of both terms does not depend on it.
const BLOCK_TOKENS: f64 = 64.0;

/// See the module.
#[derive(Debug)]
pub(super) struct Dynamo {
    next: usize,
    prefill_load_scale: f64,
}

// === impl Dynamo ===

impl Dynamo {
    /// `prefill_load_scale` by default.
    pub(super) const SCALE_DEFAULT: f64 = 1.0;
    /// The best of its published sweep.
    pub(super) const SCALE_TUNED: f64 = 32.0;

    /// With a `prefill_load_scale`.
    pub(super) fn new(prefill_load_scale: f64) -> Self {
        Self { next: 0, prefill_load_scale }
    }
}

impl Formula for Dynamo {
    fn choose(&mut self, job: &Job, among: Among<'_>) -> usize {
        self.next += 1;
        let hits = among.hits(job);
        among.least(self.next, |at, node| {
            let prefill = (node.load.prefill_tokens + job.prompt_tokens).saturating_sub(hits[at]) as f64;
            let decode = (node.load.context_tokens + job.prompt_tokens) as f64;
            (self.prefill_load_scale * prefill + decode) / BLOCK_TOKENS
        })
    }
}
