//! The time that KV takes from the endpoint that computes it to the one that decodes, learned from first tokens of decode legs.
//!
//! Like a speed, but of a pair: two nodes in one rack, or with one kind of network card, are nearer than others. What a pair
//! shows counts against the pool's mean as far as it is significant; see [`super::Speed`].

use super::speed::Speed;
use crate::ids::EndpointId;
use crate::num::{count, float};
use crate::work::PrefillWork;
use fnv::FnvHashMap;

/// What a transfer takes however small it is, in seconds: the notice to the decode engine, the handshake's share, the wait for
/// its step. Between the fastest published (1.5 ms for 1,000 tokens over eight 400G links) and what UCX takes without them.
const FIXED_S: f64 = 0.01;
/// Time of one token before any transfer was observed, as a share of the time that its prefill takes: 0.02 over eight 400G links
/// (H800, Qwen3-8B), 0.25 over four of 200G (H20, Qwen3-30B-A3B).
const PREFILL_SHARE_DEFAULT: f64 = 0.1;
/// Pairs that are distinguished. Beyond, what was learned of pairs is forgotten, and the mean stays.
const PAIRS_MAX: usize = 4_096;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Transfers {
    all: Speed,
    pairs: FnvHashMap<(EndpointId, EndpointId), Speed>,
}

// === impl Transfers ===

impl Transfers {
    /// Predicted time for `tokens` from the first endpoint to the second, in seconds. `prefill_s_per_token` is the speed of the
    /// first, in whose proportion a transfer is assumed until one was observed.
    pub fn predicted_s(&self, pair: (EndpointId, EndpointId), tokens: u64, prefill_s_per_token: f64) -> f64 {
        let s_per_token = match self.all.log() {
            None => PREFILL_SHARE_DEFAULT * prefill_s_per_token,
            all => self.pairs.get(&pair).copied().unwrap_or_default().among(all),
        };
        FIXED_S + float(tokens) * s_per_token
    }

    /// Learns from a transfer of `tokens` that took `us` microseconds.
    pub(super) fn observe(&mut self, pair: (EndpointId, EndpointId), tokens: u64, us: u64) {
        let us = us.saturating_sub(count(FIXED_S * 1e6));
        self.all.observe(PrefillWork(tokens), us);
        if self.pairs.len() >= PAIRS_MAX && !self.pairs.contains_key(&pair) {
            self.pairs.clear();
        }
        self.pairs.entry(pair).or_default().observe(PrefillWork(tokens), us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR: (EndpointId, EndpointId) = (EndpointId(1), EndpointId(2));
    const FAR: (EndpointId, EndpointId) = (EndpointId(1), EndpointId(3));

    #[test]
    fn a_far_pair_differs_from_a_near_one_and_a_new_one_is_like_most() {
        let mut transfers = Transfers::default();
        assert!((transfers.predicted_s(NEAR, 10_000, 6e-5) - 0.07).abs() < 1e-9, "a share of the prefill");
        for _ in 0..30 {
            transfers.observe(NEAR, 8_000, 26_000);
            transfers.observe(FAR, 8_000, 410_000);
        }
        let predicted = |pair| transfers.predicted_s(pair, 8_000, 6e-5);
        assert!((0.02..0.04).contains(&predicted(NEAR)), "{}", predicted(NEAR));
        assert!((0.3..0.5).contains(&predicted(FAR)), "{}", predicted(FAR));
        let other = predicted((EndpointId(7), EndpointId(8)));
        assert!(predicted(NEAR) < other && other < predicted(FAR), "{other}");
    }

    #[test]
    fn what_is_kept_of_pairs_is_bounded() {
        let mut transfers = Transfers::default();
        for number in 0..=u64::try_from(PAIRS_MAX).unwrap() {
            transfers.observe((EndpointId(0), EndpointId(number)), 8_000, 26_000);
        }
        assert_eq!(transfers.pairs.len(), 1);
        assert!(transfers.all.log().is_some());
    }
}
