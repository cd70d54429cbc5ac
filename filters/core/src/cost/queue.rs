//! The queue: prefill work already promised to the endpoint.

use crate::num::float;
use crate::view::Endpoint;

/// Work assumed of a waiting request that no proxy of ours has booked, in tokens: the mean prompt of the
/// Azure conversation trace of 2023.
const FOREIGN_PROMPT_TOKENS: u64 = 1_155;

/// Seconds until the endpoint has prefilled what is in front of a new request.
pub(super) fn seconds(endpoint: &Endpoint) -> f64 {
    let promised = endpoint.promised();
    let foreign = u64::from(endpoint.facts().waiting.saturating_sub(promised.requests));
    let tokens = promised.prefill_tokens.saturating_add(foreign * FOREIGN_PROMPT_TOKENS);
    float(tokens) * endpoint.prefill_s_per_token()
}
