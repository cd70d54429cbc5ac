//! The decode: what one more sequence does to a batch, both ways.

use super::Work;
use crate::num::float;
use crate::view::Endpoint;

/// Time that one token of context adds to each decode step, in units of one token's prefill time: 8.4e-4
/// for Qwen3-32B TP2, 1.8e-3 for Llama-3.1-8B, 3.7e-4 for 70B TP4, all on H100.
const CONTEXT_WORK: f64 = 8e-4;

/// Seconds for which our prefill holds up the requests that decode there, summed over them.
pub(super) fn stall_seconds(endpoint: &Endpoint, prefill_s: f64) -> f64 {
    prefill_s * f64::from(endpoint.decodes())
}

/// Seconds by which the contexts there slow our steps, and ours slows theirs.
pub(super) fn seconds(endpoint: &Endpoint, work: &Work) -> f64 {
    let ours = float(endpoint.used_tokens());
    let theirs = float(work.prompt_tokens) * f64::from(endpoint.decodes());
    float(work.output_tokens) * CONTEXT_WORK * endpoint.prefill_s_per_token() * (ours + theirs)
}
