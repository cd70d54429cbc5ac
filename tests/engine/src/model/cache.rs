//! The paged KV cache: ref-counted blocks, named by their chain hash once they are full.
//!
//! A block that nobody uses keeps its content and waits in the free list; a later request with the same
//! prefix takes it back, or its room is given away, oldest first. A released chain enters the list from its
//! tail, so its tail is evicted before its head and what stays is always a usable prefix.
//!
//! As in vLLM, a block that two requests filled with the same content at the same time exists twice; here
//! only the first of them is found by later requests.

use super::{
    chain::{BlockHash, BlockMap},
    changes::{CacheChange, Changes},
    free_list::FreeList,
    tier::TierStore,
};
use std::collections::hash_map::Entry;

/// One block of the cache; an index, valid for the cache that gave it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(u32);

// === impl BlockId ===

impl BlockId {
    /// Its number as vLLM gives it out, where 0 is the block that holds nothing.
    pub fn number(self) -> u32 {
        self.0 + 1
    }
}

#[derive(Clone, Debug, Default)]
struct Block {
    refs: u32,
    /// The name under which the index finds this block.
    hash: Option<BlockHash>,
}

/// What [`PagedCache::acquire`] gave: blocks in prompt order, the first `hits` of which hold content.
#[derive(Debug, PartialEq, Eq)]
pub struct Acquired {
    /// The blocks, in prompt order.
    pub blocks: Vec<BlockId>,
    /// How many of them, from the first, were found in the cache.
    pub hits: usize,
}

/// A fixed number of blocks.
#[derive(Debug)]
pub struct PagedCache {
    blocks: Vec<Block>,
    free: FreeList,
    index: BlockMap<BlockId>,
    /// Where evicted blocks go: into the first, and what falls out of it into the next.
    below: Vec<TierStore>,
    pub(super) changes: Changes,
}

// === impl PagedCache ===

impl PagedCache {
    /// An empty cache of `blocks` blocks, with nothing below it.
    pub fn new(blocks: usize) -> Self {
        Self::with_tiers(blocks, [])
    }

    /// An empty cache above empty tiers of so many blocks, the nearest first.
    pub fn with_tiers(blocks: usize, tiers: impl IntoIterator<Item = usize>) -> Self {
        Self {
            blocks: vec![Block::default(); blocks],
            free: FreeList::full(blocks),
            index: BlockMap::default(),
            below: tiers.into_iter().map(TierStore::new).collect(),
            changes: Changes::default(),
        }
    }

    /// How many blocks there are.
    pub fn blocks_total(&self) -> usize {
        self.blocks.len()
    }

    /// How many blocks requests use now. Content that only waits for a hit does not count.
    pub fn blocks_in_use(&self) -> usize {
        self.blocks.len() - self.free.len()
    }

    /// How many blocks can be found by their hash.
    pub fn blocks_cached(&self) -> usize {
        self.index.len()
    }

    /// How many requests use a block.
    pub fn refs(&self, block: BlockId) -> u32 {
        self.blocks[block.0 as usize].refs
    }

    /// How many of `chain`'s blocks, from the first, the cache holds. Leaves the order of eviction alone.
    pub fn hit_blocks(&self, chain: &[BlockHash]) -> usize {
        chain.iter().take_while(|hash| self.index.contains_key(hash)).count()
    }

    /// How many blocks a tier holds.
    pub fn blocks_below(&self, tier: usize) -> usize {
        self.below.get(tier).map_or(0, TierStore::len)
    }

    /// How many blocks can be taken now, those that wait for a hit included.
    pub(super) fn blocks_free(&self) -> usize {
        self.free.len()
    }

    /// Whether there are tiers.
    pub(super) fn has_tiers(&self) -> bool {
        !self.below.is_empty()
    }

    /// The nearest tier that holds a block, whether the cache itself holds it or not.
    pub fn tier_of(&self, hash: BlockHash) -> Option<usize> {
        self.below.iter().position(|tier| tier.holds(hash))
    }

    /// Makes a stretch of a chain the youngest of a tier, its head younger than its tail.
    pub fn touch_below(&mut self, tier: usize, chain: &[BlockHash]) {
        if let Some(tier) = self.below.get_mut(tier) {
            for hash in chain.iter().rev() {
                tier.touch(*hash);
            }
        }
    }

    /// Takes `blocks` blocks: those of `chain` that are held, then free ones. `None`, and no change, when
    /// they do not fit now.
    pub fn acquire(&mut self, chain: &[BlockHash], blocks: usize) -> Option<Acquired> {
        let held = chain.iter().take(blocks).map_while(|hash| self.index.get(hash).copied());
        let mut taken = Vec::with_capacity(blocks);
        taken.extend(held);
        let hits = taken.len();
        let hits_free = taken.iter().filter(|block| self.refs(**block) == 0).count();
        if blocks - hits > self.free.len() - hits_free {
            return None;
        }
        for block in &taken {
            self.share(*block);
        }
        taken.extend((hits..blocks).map_while(|_| self.grow()));
        debug_assert_eq!(taken.len(), blocks);
        Some(Acquired { blocks: taken, hits })
    }

    /// Takes the free block that was used longest ago; what it held goes to the tiers or is forgotten.
    pub fn grow(&mut self) -> Option<BlockId> {
        let id = self.free.pop_oldest()?;
        let block = &mut self.blocks[id as usize];
        block.refs = 1;
        if let Some(hash) = block.hash.take() {
            self.index.remove(&hash);
            self.sink(hash);
            self.changes.note(CacheChange::Removed(hash));
        }
        Some(BlockId(id))
    }

    fn sink(&mut self, evicted: BlockHash) {
        let mut falling = Some(evicted);
        for (at, tier) in self.below.iter_mut().enumerate() {
            let Some(hash) = falling else { return };
            if tier.touch(hash) {
                return;
            }
            falling = tier.put(hash);
            if falling != Some(hash) {
                self.changes.note(CacheChange::Sunk { block: hash, tier: at });
                let dropped = falling.map(|block| CacheChange::Dropped { block, tier: at });
                if let Some(dropped) = dropped {
                    self.changes.note(dropped);
                }
            }
        }
    }

    /// Names a block that is in use and full, so that later requests find it. Does nothing, and returns false, when
    /// another block already has that name.
    pub fn publish(&mut self, block: BlockId, hash: BlockHash) -> bool {
        debug_assert!(self.refs(block) > 0, "a free block cannot have been filled");
        let Entry::Vacant(entry) = self.index.entry(hash) else { return false };
        entry.insert(block);
        self.blocks[block.0 as usize].hash = Some(hash);
        true
    }

    /// Gives back one use of each block of a chain, given in prompt order.
    pub fn release(&mut self, blocks: &[BlockId]) {
        for BlockId(id) in blocks.iter().rev() {
            let block = &mut self.blocks[*id as usize];
            debug_assert!(block.refs > 0, "block {id} is released more often than taken");
            block.refs -= 1;
            if block.refs == 0 {
                self.free.push_newest(*id);
            }
        }
    }

    /// Forgets all content, that of the tiers too. Blocks in use stay in use.
    pub fn forget(&mut self) {
        self.index.clear();
        for block in &mut self.blocks {
            block.hash = None;
        }
        self.below.iter_mut().for_each(TierStore::clear);
        self.changes.note(CacheChange::Cleared);
    }

    fn share(&mut self, block: BlockId) {
        let state = &mut self.blocks[block.0 as usize];
        state.refs += 1;
        if state.refs == 1 {
            self.free.remove(block.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(ids: &[u64]) -> Vec<BlockHash> {
        ids.iter().copied().map(BlockHash).collect()
    }

    /// Takes the blocks of a chain and fills them all.
    fn fill(cache: &mut PagedCache, chain: &[BlockHash]) -> Acquired {
        let taken = cache.acquire(chain, chain.len()).unwrap();
        for (block, hash) in taken.blocks.iter().zip(chain) {
            cache.publish(*block, *hash);
        }
        taken
    }

    #[test]
    fn a_shared_block_stays_until_its_last_user_leaves() {
        let mut cache = PagedCache::new(3);
        let one = fill(&mut cache, &chain(&[1, 2]));
        let two = cache.acquire(&chain(&[1, 9]), 2).unwrap();
        assert_eq!((two.hits, two.blocks[0]), (1, one.blocks[0]));
        assert_eq!(cache.refs(one.blocks[0]), 2);
        cache.release(&one.blocks);
        assert_eq!((cache.refs(one.blocks[0]), cache.blocks_in_use()), (1, 2));
        cache.release(&two.blocks);
        assert_eq!(cache.blocks_in_use(), 0);
        assert_eq!(cache.hit_blocks(&chain(&[1, 2])), 2, "content outlives its users");
    }

    #[test]
    fn eviction_takes_the_oldest_chain_first_and_each_chain_from_its_tail() {
        let mut cache = PagedCache::new(6);
        for ids in [[1, 2, 3], [4, 5, 6]] {
            let taken = fill(&mut cache, &chain(&ids));
            cache.release(&taken.blocks);
        }
        let left: Vec<_> = (0..6)
            .map(|_| {
                cache.grow().unwrap();
                (cache.hit_blocks(&chain(&[1, 2, 3])), cache.hit_blocks(&chain(&[4, 5, 6])))
            })
            .collect();
        assert_eq!(left, [(2, 3), (1, 3), (0, 3), (0, 2), (0, 1), (0, 0)]);
    }

    #[test]
    fn a_hit_makes_a_chain_the_youngest() {
        let mut cache = PagedCache::new(4);
        for ids in [[1, 2], [3, 4]] {
            let taken = fill(&mut cache, &chain(&ids));
            cache.release(&taken.blocks);
        }
        let again = cache.acquire(&chain(&[1, 2]), 2).unwrap();
        cache.release(&again.blocks);
        cache.grow().unwrap();
        assert_eq!((cache.hit_blocks(&chain(&[1, 2])), cache.hit_blocks(&chain(&[3, 4]))), (2, 1));
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let mut cache = PagedCache::new(3);
        let taken = fill(&mut cache, &chain(&[1, 2]));
        cache.release(&taken.blocks);
        assert_eq!(cache.acquire(&chain(&[1, 2, 3]), 4), None, "the free hits must not be counted twice");
        assert_eq!((cache.blocks_in_use(), cache.hit_blocks(&chain(&[1, 2]))), (0, 2));
    }

    #[test]
    fn forgetting_leaves_running_requests_their_blocks() {
        let mut cache = PagedCache::new(2);
        let taken = fill(&mut cache, &chain(&[1]));
        cache.forget();
        assert_eq!((cache.hit_blocks(&chain(&[1])), cache.blocks_in_use()), (0, 1));
        cache.release(&taken.blocks);
        assert_eq!(cache.blocks_in_use(), 0);
    }
}
