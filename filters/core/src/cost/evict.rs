//! The eviction: a full cache takes a new prefix only by giving up old ones, some of which would be asked
//! for again.

use super::Work;
use crate::num::float;
use crate::view::Endpoint;

/// Seconds to compute again what is pushed out, by the share of prefixes that are used again.
pub(super) fn seconds(endpoint: &Endpoint, work: &Work) -> f64 {
    let new = work.prompt_tokens.saturating_sub(work.cached_tokens);
    let evicted = new.saturating_sub(work.free_tokens);
    float(evicted) * endpoint.prefill_s_per_token() * work.reuse_share
}
