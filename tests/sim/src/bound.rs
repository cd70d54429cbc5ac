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
