//! The eviction: a full cache takes a new prefix only by giving up old ones, some of which would be asked
//! for again.

use super::{Place, Work};

/// Seconds to compute again what is pushed out.
pub(super) fn seconds(place: &Place<'_>, work: &Work) -> f64 {
    work.evicted_tokens * place.prefill_s_per_token
}
