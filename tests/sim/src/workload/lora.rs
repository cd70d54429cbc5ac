//! Which LoRA adapter each request asks for: few of them often, most of them rarely.

use rand::{Rng, SeedableRng, rngs::StdRng};

/// Keeps the draws apart from all others of the seed.
const SALT: u64 = 0x10_7A;

/// How many adapters there are, and how unlike their shares are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoraSpec {
    /// Their numbers are 1 to this.
    pub adapters: u32,
    /// Zipf's exponent: the adapter of rank `r` is asked for `r^-exponent` times as often as the first.
    pub exponent: f64,
}

// === impl LoraSpec ===

impl LoraSpec {
    /// Adapters drawn by `seed`, without end.
    pub fn draws(self, seed: u64) -> impl Iterator<Item = u32> {
        let mut random = StdRng::seed_from_u64(seed ^ SALT);
        let weight = move |rank: u32| f64::from(rank).powf(-self.exponent);
        let all: f64 = (1..=self.adapters).map(weight).sum();
        std::iter::repeat_with(move || {
            let mut left = random.random::<f64>() * all;
            (1..self.adapters)
                .find(|rank| {
                    left -= weight(*rank);
                    left < 0.0
                })
                .unwrap_or(self.adapters)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_fall_with_the_rank() {
        let drawn: Vec<u32> = LoraSpec { adapters: 4, exponent: 1.0 }.draws(3).take(25_000).collect();
        // 1 + 1/2 + 1/3 + 1/4 is 25/12.
        for (adapter, expected) in [(1, 12_000), (2, 6_000), (3, 4_000), (4, 3_000)] {
            let found = drawn.iter().filter(|one| **one == adapter).count();
            assert!(found.abs_diff(expected) < 300, "adapter {adapter}: {found} of {expected}");
        }
    }
}
