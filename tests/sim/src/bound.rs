//! One endless cache in front of everything: the most that any routing could find cached.
//!
//! It sees the requests in the order in which they are sent and never forgets. A request finds what was *sent*
//! before it, even if no engine has computed it yet: a bound that cannot quite be reached, not a forecast.

use fnv::FnvHashSet;
use warmpath_engine::model::BlockHash;

/// The endless cache.
#[derive(Debug)]
pub struct EndlessCache {
    block_tokens: usize,
    held: FnvHashSet<BlockHash>,
}

// === impl EndlessCache ===

impl EndlessCache {
    /// An empty cache of blocks of `block_tokens` tokens.
    pub fn new(block_tokens: usize) -> Self {
        Self { block_tokens, held: FnvHashSet::default() }
    }

    /// Tokens of a block.
    pub fn block_tokens(&self) -> usize {
        self.block_tokens
    }

    /// How many of a prompt's tokens are held; then all its blocks are. As in the engine, the last token is never
    /// taken from the cache: something must be computed to have an answer.
    pub fn ask(&mut self, prompt_tokens: usize, blocks: &[BlockHash]) -> usize {
        let reusable = (prompt_tokens.saturating_sub(1) / self.block_tokens).min(blocks.len());
        let hits = blocks[..reusable].iter().take_while(|block| self.held.contains(block)).count();
        // What is held is held with all before it: only the rest is new.
        self.held.extend(&blocks[hits..]);
        hits * self.block_tokens
    }

    /// Holds the blocks of a prompt with its answer, which an engine has computed on the way.
    pub fn store(&mut self, blocks: &[BlockHash]) {
        self.held.extend(blocks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};
    use std::collections::BTreeSet;

    const BLOCK_TOKENS: usize = 2;

    /// A prompt as its blocks' letters: a chain's hash stands for all letters before it.
    fn chain(letters: &[u64]) -> Vec<BlockHash> {
        let name = |end: usize| letters[..end].iter().fold(1, |name: u64, letter| name * 3 + letter);
        (1..=letters.len()).map(|end| BlockHash(name(end))).collect()
    }

    #[test]
    fn it_agrees_with_a_set_of_prefixes() {
        let seed = 11;
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let mut cache = EndlessCache::new(BLOCK_TOKENS);
        let mut naive: BTreeSet<Vec<u64>> = BTreeSet::new();
        let mut hits = 0;
        for _ in 0..500 {
            let letters: Vec<u64> =
                (0..random.random_range(0..12)).map(|_| random.random_range(0..2)).collect();
            let tokens = letters.len() * BLOCK_TOKENS + random.random_range(0..BLOCK_TOKENS);
            let usable = tokens.saturating_sub(1) / BLOCK_TOKENS;
            let expected =
                (1..=usable.min(letters.len())).take_while(|end| naive.contains(&letters[..*end])).count();
            assert_eq!(cache.ask(tokens, &chain(&letters)), expected * BLOCK_TOKENS, "{letters:?}");
            naive.extend((1..=letters.len()).map(|end| letters[..end].to_vec()));
            hits += usize::from(expected > 0);
        }
        assert!(hits > 100, "the prompts must share beginnings, {hits} did");
    }

    #[test]
    fn what_was_stored_is_found_and_the_last_token_is_computed() {
        let mut cache = EndlessCache::new(BLOCK_TOKENS);
        let blocks = chain(&[0, 1, 0]);
        cache.store(&blocks);
        assert_eq!((cache.ask(6, &blocks), cache.ask(7, &blocks)), (4, 6));
    }
}
