//! The endpoints of a large pool to examine: the holders of the prompt's first cell that hold the most of it, and a
//! random sample for the load. The cost of a decision then does not grow with the pool.

use super::Query;
use crate::ids::Slot;
use crate::limits::SAMPLE_ENDPOINTS;
use crate::num::u64_len;
use crate::view::{Leg, Match};

/// Holders to examine in a large pool, those with the most cells first.
const HOLDERS_MAX: usize = 8;

/// Draws them; none twice.
pub(super) fn sample(query: &Query<'_>, leg: Leg, matches: &[Match], nonce: u64) -> Vec<Slot> {
    let slots = query.pool().taking(leg);
    let mut drawn: Vec<Slot> = Vec::with_capacity(HOLDERS_MAX + SAMPLE_ENDPOINTS);
    drawn.extend(longest_holders(query, leg, matches, nonce).iter().map(|(_, slot)| *slot));
    let mut state = nonce;
    for _ in 0..SAMPLE_ENDPOINTS {
        state = next_random(state);
        let at = usize::try_from(state % u64_len(slots.len())).unwrap_or(0);
        if let Some(slot) = slots.get(at).filter(|slot| !drawn.contains(slot)) {
            drawn.push(*slot);
        }
    }
    drawn
}

/// The best so far in order, so that one look at each is enough where hundreds hold the beginning. Among those that hold
/// the same (often all hold the system prompt), not always the first ones: by chance.
fn longest_holders(query: &Query<'_>, leg: Leg, matches: &[Match], nonce: u64) -> Vec<(u128, Slot)> {
    let mut holders: Vec<(u128, Slot)> = Vec::with_capacity(HOLDERS_MAX + 1);
    // An endpoint that changed its pool still holds the old one's prefixes.
    for found in matches.iter().filter(|found| query.pool().takes(leg, found.slot)) {
        // The longest first, then by chance: one number compares faster than two.
        let chance = next_random(nonce ^ u64::from(found.slot.0));
        let rank = u128::from(u32::MAX - found.cells) << 64 | u128::from(chance);
        if holders.len() < HOLDERS_MAX || holders.last().is_some_and(|(worst, _)| rank < *worst) {
            holders.truncate(HOLDERS_MAX - 1);
            holders.insert(holders.partition_point(|(better, _)| *better < rank), (rank, found.slot));
        }
    }
    holders
}

/// SplitMix64 (Steele, Lea, Flood 2014): one step spreads any seed over all 64 bits.
pub(super) fn next_random(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
