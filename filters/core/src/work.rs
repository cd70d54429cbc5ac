//! Prefill work: the cost of computing a prompt, in a unit that does not depend on an engine's speed.
//!
//! A step costs its new tokens once, and each new token attends to all tokens before it. With long contexts
//! the second part doubles or triples the first, so "uncached tokens" alone would be wrong.

use crate::num::{count, float};

/// Cost of one (new token, earlier token) pair, in units of one new token's own cost: 3.3e-5 for Qwen3-32B
/// TP2, 3.5e-5 for Llama-3.1-8B and 1.5e-5 for 70B TP4, all on H100.
const PAIR_WORK: f64 = 3e-5;

/// An amount of prefill work, in tokens' worth: as many tokens at the very beginning of a prompt take as long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PrefillWork(pub u64);

// === impl PrefillWork ===

impl PrefillWork {
    /// The work of a prompt: its uncached tokens, and the pairs that they form.
    pub fn of(prompt_tokens: u64, cached_tokens: u64) -> Self {
        let cached = float(cached_tokens.min(prompt_tokens));
        let new = float(prompt_tokens) - cached;
        Self(count(new + PAIR_WORK * (new * cached + new * new / 2.0)))
    }

    /// The work of one token behind `depth_tokens` others, in tokens' worth.
    pub(crate) fn of_token(depth_tokens: f64) -> f64 {
        1.0 + PAIR_WORK * depth_tokens
    }

    /// Tokens' worth, as a float.
    pub fn tokens(self) -> f64 {
        float(self.0)
    }

    /// Both together, saturating.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left without `other`; none where that is more.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

#[cfg(test)]
mod tests {
    use super::PrefillWork;

    #[test]
    fn the_same_new_tokens_cost_more_behind_a_long_prefix() {
        // Measured for 2,048 new tokens at prefix 0 / 8k / 32k: 107 / 133 / 214 ms.
        let at = |prefix| PrefillWork::of(prefix + 2048, prefix).0;
        assert!(at(8192) * 100 / at(0) >= 115 && at(8192) * 100 / at(0) <= 135);
        assert!(at(32_768) * 100 / at(0) >= 180 && at(32_768) * 100 / at(0) <= 215);
    }
}
