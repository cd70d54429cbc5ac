//! Divides conversations among names by weight, in every process alike.
//!
//! Weighted rendezvous hashing (Schindelhauer and Schomaker 2005): each name draws a time from the key, shorter for larger
//! weights, and the shortest time wins. When a weight changes, or a name comes or goes, only as many keys move as necessary. A
//! key's place on a line of cumulated weights would move many others, too.

use crate::num::float;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Bits of a hash that a float holds exactly.
const BITS: u32 = 53;

/// The candidate that a key belongs to, of candidates with names and weights. If all weights are zero, they count as equal.
/// `None`: there is no candidate.
pub(crate) fn pick<'a, T>(
    key: u64,
    candidates: impl Iterator<Item = (T, &'a str, u32)> + Clone,
) -> Option<T> {
    let are_equal = candidates.clone().all(|(_, _, weight)| weight == 0);
    let mut best: Option<(f64, T)> = None;
    for (candidate, name, weight) in candidates {
        let weight = if are_equal { 1 } else { weight };
        let hash = xxh3_64_with_seed(&key.to_le_bytes(), xxh3_64(name.as_bytes()));
        // More than 0 and at most 1, so that its logarithm is a number.
        let drawn = float((hash >> (u64::BITS - BITS)) + 1) / float(1 << BITS);
        let time = -drawn.ln() / f64::from(weight);
        if weight > 0 && best.as_ref().is_none_or(|(soonest, _)| time < *soonest) {
            best = Some((time, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEYS: u64 = 10_000;
    const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

    fn picked(weights: &[u32], key: u64) -> Option<usize> {
        pick(key, weights.iter().zip(NAMES).enumerate().map(|(at, (weight, name))| (at, name, *weight)))
    }

    #[test]
    fn shares_follow_the_weights() {
        for (weights, expected) in [
            (&[1, 1][..], &[5_000, 5_000][..]),
            (&[9, 1], &[9_000, 1_000]),
            (&[0, 7], &[0, 10_000]),
            (&[0, 0], &[5_000, 5_000]),
            (&[u32::MAX, 0, u32::MAX], &[5_000, 0, 5_000]),
            (&[1, 2, 3, 4], &[1_000, 2_000, 3_000, 4_000]),
        ] {
            let mut shares = vec![0_usize; weights.len()];
            for key in 0..KEYS {
                shares[picked(weights, key).unwrap()] += 1;
            }
            let is_near = |(share, expected): (&usize, &usize)| share.abs_diff(*expected) <= 200;
            assert!(shares.iter().zip(expected).all(is_near), "{weights:?}: {shares:?}");
        }
        assert_eq!(picked(&[], 7), None);
    }

    proptest! {
        #[test]
        fn a_key_moves_only_to_what_has_grown_or_from_what_has_shrunk(weights in prop::collection::vec(0_u32..100, 1..6), at in 0_usize..6, weight in 0_u32..100, key in any::<u64>()) {
            let at = at % weights.len();
            let mut changed = weights.clone();
            changed[at] = weight;
            let is_zero = |weights: &[u32]| weights.iter().all(|weight| *weight == 0);
            prop_assume!(!is_zero(&weights) && !is_zero(&changed));
            let (before, after) = (picked(&weights, key).unwrap(), picked(&changed, key).unwrap());
            prop_assert!(weights[before] > 0 && changed[after] > 0);
            if before != after {
                prop_assert_eq!(if changed[at] > weights[at] { after } else { before }, at);
            }
        }
    }
}
