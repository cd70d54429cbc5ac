//! One endless cache in front of everything, for text: the most that any routing could find cached.
//!
//! Prompts are cut and hashed in the engine's own way; the cache itself is the simulator's.

use warmpath_engine::model::{Root, chain_of_bytes, tokens_of_bytes};
use warmpath_sim::bound;

/// The endless cache of one model.
#[derive(Debug)]
pub struct EndlessCache {
    root: Root,
    cache: bound::EndlessCache,
}

// === impl EndlessCache ===

impl EndlessCache {
    /// An empty cache for the blocks of engines that serve `model` without adapters.
    pub fn new(model: &str, block_tokens: usize) -> Self {
        Self { root: Root::new(model, "", ""), cache: bound::EndlessCache::new(block_tokens) }
    }

    /// How many tokens of `prompt` are held; then all its blocks are.
    pub fn ask(&mut self, prompt: &[u8]) -> usize {
        let chain = chain_of_bytes(self.root, prompt, self.cache.block_tokens());
        self.cache.ask(tokens_of_bytes(prompt.len()), &chain)
    }

    /// Holds a prompt with its answer, which the engine has computed on the way.
    pub fn store(&mut self, text: &[u8]) {
        self.cache.store(&chain_of_bytes(self.root, text, self.cache.block_tokens()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};
    use std::collections::BTreeSet;

    const BLOCK_TOKENS: usize = 2;
    const BLOCK_BYTES: usize = BLOCK_TOKENS * 4;

    /// Holds whole prefixes as text, and compares text.
    #[derive(Default)]
    struct Naive(BTreeSet<Vec<u8>>);

    impl Naive {
        fn store(&mut self, text: &[u8]) {
            let tokens = text.len().div_ceil(4);
            for blocks in 1..=tokens / BLOCK_TOKENS {
                self.0.insert(text.iter().copied().take(blocks * BLOCK_BYTES).collect());
            }
        }

        fn ask(&mut self, prompt: &[u8]) -> usize {
            let mut cached_tokens = 0;
            for tokens in (BLOCK_TOKENS..prompt.len().div_ceil(4)).step_by(BLOCK_TOKENS) {
                if !self.0.contains(&prompt[..tokens * 4]) {
                    break;
                }
                cached_tokens = tokens;
            }
            self.store(prompt);
            cached_tokens
        }
    }

    #[test]
    fn it_agrees_with_a_set_of_prefixes() {
        let seed = 11;
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let mut cache = EndlessCache::new("m", BLOCK_TOKENS);
        let mut naive = Naive::default();
        let mut hits = 0;
        for _ in 0..500 {
            let length = random.random_range(0..60);
            let mut text = vec![b'a'; length];
            // Few letters and few changes, so that many texts share a beginning of some length.
            for _ in 0..random.random_range(0..2) {
                if let Some(byte) = text.get_mut(random.random_range(0..60)) {
                    *byte = b'b';
                }
            }
            if random.random_bool(0.2) {
                cache.store(&text);
                naive.store(&text);
            } else {
                let cached = cache.ask(&text);
                assert_eq!(cached, naive.ask(&text), "{text:?}");
                hits += usize::from(cached > 0);
            }
        }
        assert!(hits > 50, "the texts must share beginnings, {hits} did");
    }

    #[test]
    fn a_whole_repetition_leaves_one_token_to_compute() {
        let mut cache = EndlessCache::new("m", 16);
        assert_eq!(cache.ask(&[b'x'; 128]), 0);
        assert_eq!(cache.ask(&[b'x'; 128]), 16, "32 tokens, of which the last block has the last token");
        assert_eq!(cache.ask(&[b'x'; 132]), 32);
    }
}
