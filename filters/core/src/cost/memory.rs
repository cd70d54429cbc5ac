//! The memory: a request that does not fit waits, or makes the engine preempt one and compute it again.

use super::{Place, Work};
use crate::num::float;

/// Seconds to compute again the tokens that would not fit. Shared prefixes count once in the engine and
/// here in every request, so cached tokens are taken as already resident.
pub(super) fn seconds(place: &Place<'_>, work: &Work) -> f64 {
    let endpoint = place.endpoint;
    let new = work.prompt_tokens.saturating_sub(work.cached_tokens).saturating_add(work.output_tokens);
    let excess = endpoint.used_tokens().saturating_add(new).saturating_sub(endpoint.capacity_tokens);
    float(excess.min(work.prompt_tokens.saturating_add(work.output_tokens))) * place.prefill_s_per_token
}
