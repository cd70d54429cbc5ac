//! The decode: what one more sequence does to a batch, both ways.

use super::{Place, Work};
use crate::num::float;

/// Time of a decode step that does nothing else, in units of one token's prefill time: it reads the weights.
/// 190 for Qwen3-32B TP2, 200 for Llama-3.1-8B, 180 for 70B TP4, all on H100: the ratio of the GPU's arithmetic to its
/// memory's bandwidth. Between equal endpoints it makes no difference.
const STEP_WORK: f64 = 190.0;
/// Time that one token of context adds to each decode step, in the same units: 8.4e-4 for Qwen3-32B TP2, 1.8e-3 for
/// Llama-3.1-8B, 3.7e-4 for 70B TP4, all on H100.
const CONTEXT_WORK: f64 = 8e-4;

/// Seconds for which our prefill holds up the requests that are there, summed over them. Those that wait to be
/// prefilled count too: they are served first, and decode by the time that ours is.
pub(super) fn stall_seconds(place: &Place<'_>, prefill_s: f64) -> f64 {
    prefill_s * f64::from(place.endpoint.requests())
}

/// Seconds of our answer's steps, slowed by the contexts there, and by which ours slows theirs.
pub(super) fn seconds(place: &Place<'_>, work: &Work) -> f64 {
    let ours = float(place.endpoint.used_tokens());
    let theirs = float(work.prompt_tokens) * f64::from(place.endpoint.decodes());
    let step_work = STEP_WORK + CONTEXT_WORK * (ours + theirs);
    float(work.output_tokens) * step_work * place.prefill_s_per_token
}
