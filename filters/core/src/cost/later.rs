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
    growth_s(requests_per_s / idle_share, queue_s, prefill_s)
}

/// By how much `rate * queue^2 / 2` grows when `prefill_s` is added to the queue.
fn growth_s(rate: f64, queue_s: f64, prefill_s: f64) -> f64 {
    rate * prefill_s * (queue_s + prefill_s / 2.0)
}

#[cfg(test)]
mod tests {
    use super::growth_s;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn growth_is_the_difference_of_the_value_function(
            rate in 0.0..5.0, queue_s in 0.0..20.0, prefill_s in 0.0..20.0,
        ) {
            let value = |queue_s: f64| rate * queue_s * queue_s / 2.0;
            let difference = value(queue_s + prefill_s) - value(queue_s);
            prop_assert!((growth_s(rate, queue_s, prefill_s) - difference).abs() < 1e-9 * (1.0 + difference));
        }
    }
}
