//! The queue: prefill work already promised to the endpoint and not done.

use super::Place;
use crate::num::float;
use crate::time::Timestamp;
use crate::view::Endpoint;

/// Work assumed of a waiting request that no proxy of ours has booked, in tokens: the mean prompt of the
/// Azure conversation trace of 2023.
const FOREIGN_PROMPT_TOKENS: u64 = 1_155;

/// Work in front of a new request, in tokens' worth, at an endpoint of this speed.
pub(super) fn backlog_tokens(endpoint: &Endpoint, prefill_s_per_token: f64, now: Timestamp) -> f64 {
    let foreign = u64::from(endpoint.status().waiting.saturating_sub(endpoint.in_flight().requests));
    endpoint.backlog_tokens(prefill_s_per_token, now) + float(foreign * FOREIGN_PROMPT_TOKENS)
}

/// Seconds until it is done.
pub(super) fn seconds(place: &Place<'_>) -> f64 {
    place.backlog_tokens * place.prefill_s_per_token
}
