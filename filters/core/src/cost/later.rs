//! Those who come later: work that is taken on now is in their way until it is done.
//!
//! To a queue that serves in order, with arrivals at rate `r` that fill a share `u` of its time, `w` seconds of work
//! behind `q` add `r * w * (q + w / 2) / (1 - u)` to the waiting of all who come until it is empty: the growth of the
//! queue's value function, `r * q^2 / (2 * (1 - u))` (first policy iteration for dispatching to parallel M/G/1 queues;
//! Hyytiä, Penttinen, Aalto 2012). It is why a long prompt belongs on an idle endpoint, even past a short cached
//! part, while a short one may queue.

use super::Place;

/// Seconds of waiting for those who come later.
pub(super) fn seconds(place: &Place<'_>, queue_s: f64, prefill_s: f64) -> f64 {
    let requests_per_s = place.averages.requests_per_s(place.prefill_s_per_token);
    let idle_share = 1.0 - place.averages.utilization(place.prefill_s_per_token);
    requests_per_s * prefill_s * (queue_s + prefill_s / 2.0) / idle_share
}
