//! Maps whose keys come from clients or from other processes.
//!
//! Whoever chooses the keys of a map with a known hash can put them all in one bucket. So the hash has a seed that no
//! client knows, and because the core is pure, the seed is an argument: with the same one, the order of a map repeats.
//! Keys that are hashes of the configuration stay with the cheaper FNV.

use foldhash::fast::FixedState;

/// A map with a seeded hash: `SeededMap::with_hasher(seeded(seed))`.
#[expect(clippy::disallowed_types, reason = "its seed is an argument, so its order repeats too")]
pub type SeededMap<K, V> = std::collections::HashMap<K, V, FixedState>;

/// The hash with a seed.
pub fn seeded(seed: u64) -> FixedState {
    FixedState::with_seed(seed)
}
