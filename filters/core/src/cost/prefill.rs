//! The prefill: computing what the endpoint does not hold.
//!
//! A step costs its new tokens once, and each new token looks back at all before it. With long contexts
//! the second part doubles or triples the first, so "uncached tokens" alone would be wrong.

use super::{Place, Work};
use crate::num::{count, float};

/// Cost of one (new token, earlier token) pair, in units of one new token's own cost: 3.3e-5 for Qwen3-32B
/// TP2, 3.5e-5 for Llama-3.1-8B and 1.5e-5 for 70B TP4, all on H100.
const PAIR_WORK: f64 = 3e-5;

/// Work of prefilling a prompt, in tokens' worth of time: its uncached tokens, and the pairs that they form.
pub fn work_tokens(prompt_tokens: u64, cached_tokens: u64) -> u64 {
    let cached = float(cached_tokens.min(prompt_tokens));
    let new = float(prompt_tokens) - cached;
    count(new + PAIR_WORK * (new * cached + new * new / 2.0))
}

/// Work of one token behind `depth_tokens` others.
pub(crate) fn work_of_token(depth_tokens: f64) -> f64 {
    1.0 + PAIR_WORK * depth_tokens
}

/// Seconds of a prompt's prefill at an endpoint.
pub(super) fn seconds(place: &Place<'_>, work: &Work) -> f64 {
    float(work_tokens(work.prompt_tokens, work.cached_tokens)) * place.prefill_s_per_token
}

#[cfg(test)]
mod tests {
    use super::work_tokens;

    #[test]
    fn the_same_new_tokens_cost_more_behind_a_long_prefix() {
        // Measured for 2,048 new tokens at prefix 0 / 8k / 32k: 107 / 133 / 214 ms.
        let at = |prefix| work_tokens(prefix + 2048, prefix);
        assert!(at(8192) * 100 / at(0) >= 115 && at(8192) * 100 / at(0) <= 135);
        assert!(at(32_768) * 100 / at(0) >= 180 && at(32_768) * 100 / at(0) <= 215);
    }
}
