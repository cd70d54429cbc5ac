//! Prefill and decode apart by fixed roles and a fixed rule: what others do.
//!
//! ```text
//!  local.choose ─► decode engine, and what it holds of the prompt ─► is_local ─┬─ yes: there, as a whole
//!                                                                             └─ no: prefill.choose ─► handover.choose
//! ```
//!
//! Each chooses its engines by its own system's formula, the engine that decodes only once the prefill has ended: with
//! that moment's loads, which those systems do not have yet when they choose it.

use super::dynamo::Dynamo;
use super::least_requests::LeastRequests;
use super::llmd_affinity::LlmdAffinity;
use super::llmd_blend::LlmdBlend;
use super::{Formula, Route, Rule};
use crate::fleet::Fleet;
use crate::workload::Job;

/// `nonCachedTokens` of llm-d's `prefix-based-pd-decider`, as its guide sets it.
const LLMD_TOKENS_MIN: usize = 16;
/// Dynamo's conditional disaggregation: fewer uncached tokens than this, and a smaller share of the prompt, stay local.
const DYNAMO_TOKENS_MIN: usize = 2_048;
const DYNAMO_SHARE_MIN: f64 = 0.7;

/// See the module.
pub struct Apart {
    /// Chooses the engine that prefills.
    prefill: Box<dyn Formula>,
    /// Chooses the decode engine that would do all of it.
    local: Box<dyn Formula>,
    /// Chooses the one that decodes what another has prefilled.
    handover: Box<dyn Formula>,
    /// Whether it does, by the prompt's tokens and those of them that it lacks.
    is_local: fn(usize, usize) -> bool,
}

// === impl Apart ===

impl Apart {
    /// Every request.
    pub fn always() -> Self {
        Self {
            prefill: Box::<LlmdAffinity>::default(),
            local: Box::<LeastRequests>::default(),
            handover: Box::<LeastRequests>::default(),
            is_local: |_, _| false,
        }
    }

    /// llm-d: by a number of uncached tokens.
    pub fn llmd() -> Self {
        Self {
            prefill: Box::<LlmdAffinity>::default(),
            local: Box::<LlmdBlend>::default(),
            handover: Box::<LlmdBlend>::default(),
            is_local: |_, uncached| uncached < LLMD_TOKENS_MIN,
        }
    }

    /// Dynamo: by a number of uncached tokens and their share.
    pub fn dynamo() -> Self {
        Self {
            prefill: Box::new(Dynamo::new(Dynamo::SCALE_TUNED)),
            local: Box::new(Dynamo::new(Dynamo::SCALE_DEFAULT)),
            // As Dynamo does for what comes from a prefill engine: the tokens that decode, whatever is held.
            handover: Box::new(Dynamo::new(0.0)),
            is_local: |prompt, uncached| {
                uncached < DYNAMO_TOKENS_MIN && (uncached as f64) < DYNAMO_SHARE_MIN * prompt as f64
            },
        }
    }
}

impl Rule for Apart {
    fn route(&mut self, _now_s: f64, _id: u64, job: &Job, fleet: &Fleet) -> Route {
        let (first, decoders) = fleet.decoders();
        let local = self.local.choose(job, decoders);
        if (self.is_local)(job.prompt_tokens, decoders.nodes()[local].uncached(job)) {
            Route::Whole(first + local)
        } else {
            Route::Apart(self.prefill.choose(job, fleet.among()))
        }
    }

    fn decoder(&mut self, _now_s: f64, _id: u64, job: &Job, fleet: &Fleet) -> Option<usize> {
        let (first, decoders) = fleet.decoders();
        Some(first + self.handover.choose(job, decoders))
    }
}
