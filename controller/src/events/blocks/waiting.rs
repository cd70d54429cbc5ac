//! Blocks that cannot be placed yet: their parent is unknown, or they came by name alone.
//!
//! Events of one engine come in order, so few blocks wait for long. Those that continue a block from before the first event wait in
//! vain. So both their number and their age are bounded.

use super::super::BlockHash;
use super::held::Held;
use std::collections::VecDeque;
use warmpath_core::hash::{SeededMap, seeded};
use warmpath_core::time::Timestamp;

/// How long a block waits, in milliseconds. Engines publish at every step, which takes less than a second.
const WAIT_MS_MAX: u64 = 30_000;
/// Blocks that wait, of one rank.
const BLOCKS_MAX: usize = 8_192;
/// Tokens of these blocks: as many as in blocks of 128.
const TOKENS_MAX: usize = BLOCKS_MAX * 128;
/// Entries of the order, of which some have gone.
const ORDER_MAX: usize = 4 * BLOCKS_MAX;

#[derive(Debug)]
pub(super) struct Waiting {
    blocks: SeededMap<BlockHash, Orphan>,
    /// Blocks that wait for each parent.
    children: SeededMap<BlockHash, Vec<BlockHash>>,
    /// All of them in the order in which they came, and some that wait no more.
    order: VecDeque<(Timestamp, BlockHash)>,
    tokens: usize,
    seed: u64,
}

/// One block.
#[derive(Clone, Debug, Default)]
pub(super) struct Orphan {
    /// Its parent and its tokens, unless it came by name alone.
    pub(super) body: Option<Body>,
    pub(super) held: Held,
    since: Timestamp,
}

#[derive(Clone, Debug)]
pub(super) struct Body {
    pub(super) parent: BlockHash,
    pub(super) tokens: Box<[u32]>,
    pub(super) is_opaque: bool,
}

// === impl Waiting ===

impl Waiting {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            blocks: SeededMap::with_hasher(seeded(seed)),
            children: SeededMap::with_hasher(seeded(seed)),
            order: VecDeque::new(),
            tokens: 0,
            seed,
        }
    }

    /// Lets a block wait, or adds to what is known of one that does.
    pub(super) fn add(&mut self, hash: BlockHash, body: Option<Body>, held: Held, now: Timestamp) {
        let orphan = self.blocks.entry(hash).or_insert_with(|| {
            self.order.push_back((now, hash));
            Orphan { since: now, ..Orphan::default() }
        });
        orphan.held = orphan.held.and(held);
        if let Some(body) = body
            && orphan.body.is_none()
        {
            self.tokens += body.tokens.len();
            self.children.entry(body.parent).or_default().push(hash);
            orphan.body = Some(body);
        }
    }

    /// Takes a block that waits.
    pub(super) fn take(&mut self, hash: BlockHash) -> Option<Orphan> {
        // Mostly none does.
        if self.blocks.is_empty() {
            return None;
        }
        let orphan = self.blocks.remove(&hash)?;
        if let Some(body) = &orphan.body {
            self.tokens = self.tokens.saturating_sub(body.tokens.len());
            if let Some(children) = self.children.get_mut(&body.parent) {
                children.retain(|child| *child != hash);
                if children.is_empty() {
                    self.children.remove(&body.parent);
                }
            }
        }
        Some(orphan)
    }

    /// Takes the blocks that wait for a parent.
    pub(super) fn take_children(&mut self, parent: BlockHash) -> Vec<(BlockHash, Orphan)> {
        if self.children.is_empty() {
            return Vec::new();
        }
        let children = self.children.remove(&parent).unwrap_or_default();
        children.into_iter().filter_map(|hash| Some((hash, self.take(hash)?))).collect()
    }

    /// A block is no longer in a tier.
    pub(super) fn remove(&mut self, hash: BlockHash, gone: Held) {
        let Some(orphan) = self.blocks.get_mut(&hash) else { return };
        orphan.held = orphan.held.without(gone);
        if orphan.held.is_nowhere() {
            self.take(hash);
        }
    }

    /// Drops blocks that waited too long, or are too many. Returns how many.
    pub(super) fn expire(&mut self, now: Timestamp) -> u64 {
        let mut lost = 0;
        while let Some((since, hash)) = self.order.front().copied() {
            let is_old = now.ms_since(since) >= WAIT_MS_MAX;
            let is_full =
                self.blocks.len() > BLOCKS_MAX || self.tokens > TOKENS_MAX || self.order.len() > ORDER_MAX;
            let waits = self.blocks.get(&hash).is_some_and(|orphan| orphan.since == since);
            if waits && !is_old && !is_full {
                break;
            }
            self.order.pop_front();
            if waits {
                lost += 1;
                self.take(hash);
            }
        }
        if self.blocks.is_empty() {
            *self = Self::new(self.seed);
        }
        lost
    }
}
