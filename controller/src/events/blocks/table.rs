//! The blocks of one rank: a forest, in which each block knows its text and where it can be had.
//!
//! A block keeps of its text only what lies behind its last cell: the text of a cell that ends in a later block is put together from
//! these. What is kept takes most of the memory, so nodes are small, and cells and text are one allocation.

use super::super::{BlockHash, StoredBlocks};
use super::end::{End, read_keys};
use super::held::Held;
use super::node::{Flags, NOWHERE, Node, Place};
use super::tally::{Level, Tally};
use super::waiting::{Body, Waiting};
use super::{BLOCKS_PER_RANK_MAX, Chains, Counts};
use hashbrown::HashTable;
use std::hash::BuildHasher;
use warmpath_core::hash::seeded;
use warmpath_core::num::{index, u32_len, u64_len};
use warmpath_core::time::Timestamp;
use warmpath_core::wire::Tier;

#[derive(Debug)]
pub(super) struct Table {
    nodes: Vec<Node>,
    /// Places that are not used.
    free: Vec<Place>,
    places: HashTable<Place>,
    waiting: Waiting,
    seed: u64,
    /// Blocks on the GPU, each as often as it is there.
    on_gpu: u64,
    /// Tokens of its blocks.
    block_tokens: u32,
    repeats: Repeats,
}

/// Whether an engine's stores are counted against its removals.
///
/// vLLM computes a prompt twice if two requests bring it at once, keeps and reports both blocks, and each leaves by itself. But it can
/// be asked to report blocks again that it finds, which leave once only. Then more are counted than it has room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Repeats {
    #[default]
    Counted,
    /// Each block is there or not.
    Ignored,
}

/// What a block continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parent {
    /// The prompt begins with it.
    Start,
    Known(Place),
    Unknown(BlockHash),
}

/// A block that is to be placed.
struct New<'a> {
    hash: BlockHash,
    parent: Place,
    tokens: &'a [u32],
    held: Held,
}

// === impl Table ===

impl Table {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            nodes: Vec::new(),
            free: Vec::new(),
            places: HashTable::new(),
            waiting: Waiting::new(seed),
            seed,
            on_gpu: 0,
            block_tokens: 0,
            repeats: Repeats::default(),
        }
    }

    /// Blocks that are known.
    pub(super) fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// Tokens of the blocks on the GPU.
    pub(super) fn gpu_tokens(&self) -> u64 {
        self.on_gpu.saturating_mul(self.block_tokens.into())
    }

    /// Takes blocks that came into a tier.
    pub(super) fn store(
        &mut self,
        stored: &StoredBlocks,
        chains: &Chains<'_>,
        now: Timestamp,
        tally: &mut Tally,
        counts: &mut Counts,
    ) {
        counts.stored += u64_len(stored.hashes.len());
        counts.lost += self.waiting.expire(now);
        let held = Held::of(stored.tier);
        if stored.tokens.is_empty() {
            for hash in &stored.hashes {
                match self.find(*hash) {
                    Some(place) => self.hold(place, held, tally),
                    None => self.waiting.add(*hash, None, held, now),
                }
            }
        } else {
            self.store_texts(stored, held, chains, now, tally, counts);
        }
        counts.lost += self.waiting.expire(now);
    }

    fn store_texts(
        &mut self,
        stored: &StoredBlocks,
        held: Held,
        chains: &Chains<'_>,
        now: Timestamp,
        tally: &mut Tally,
        counts: &mut Counts,
    ) {
        self.block_tokens = self.block_tokens.max(stored.block_tokens);
        let mut parent = match stored.parent {
            None => Parent::Start,
            Some(hash) => self.find(hash).map_or(Parent::Unknown(hash), Parent::Known),
        };
        let mut end: Option<End> = None;
        let texts = stored.tokens.chunks(index(stored.block_tokens).max(1));
        for (at, (hash, tokens)) in stored.hashes.iter().zip(texts).enumerate() {
            if let Some(place) = self.find(*hash) {
                self.hold(place, held, tally);
                (parent, end) = (Parent::Known(place), None);
                continue;
            }
            let keys = stored.extra_keys.get(at).and_then(Option::as_deref).unwrap_or_default();
            let (salt, is_opaque) = read_keys(keys, stored.lora.as_deref(), parent == Parent::Start);
            let from = match parent {
                Parent::Unknown(parent_hash) => {
                    counts.orphans += 1;
                    let body = Body { parent: parent_hash, tokens: tokens.into(), is_opaque };
                    self.waiting.add(*hash, Some(body), held, now);
                    parent = Parent::Unknown(*hash);
                    continue;
                }
                Parent::Known(place) => place,
                Parent::Start => NOWHERE,
            };
            let mut at_end = end.take().unwrap_or_else(|| match parent {
                Parent::Known(place) => self.end_of(place),
                _ => End::start(chains, stored.lora.as_deref().unwrap_or_default(), salt),
            });
            at_end.is_opaque |= is_opaque;
            let new = New { hash: *hash, parent: from, tokens, held };
            let Some(place) = self.place(&new, &mut at_end, chains, tally, counts) else { return };
            self.adopt(*hash, chains, tally, counts);
            (parent, end) = (Parent::Known(place), Some(at_end));
        }
    }

    /// Takes blocks out of a tier.
    pub(super) fn remove(
        &mut self,
        hashes: &[BlockHash],
        tier: Tier,
        tally: &mut Tally,
        counts: &mut Counts,
    ) {
        let gone = Held::of(tier);
        counts.removed += u64_len(hashes.len());
        for hash in hashes {
            let Some(place) = self.find(*hash) else {
                self.waiting.remove(*hash, gone);
                continue;
            };
            let Some(node) = self.node_mut(place) else { continue };
            let before = node.held.gpu;
            node.held = node.held.without(gone);
            let left = u64::from(before - node.held.gpu);
            self.on_gpu = self.on_gpu.saturating_sub(left);
            self.refresh(place, tally);
            self.prune(place);
        }
    }

    /// Takes the cells of all blocks out of the tally, and forgets the blocks.
    pub(super) fn clear(&mut self, tally: &mut Tally) {
        for node in &self.nodes {
            if node.shown != Level::NONE {
                node.own_cells().for_each(|cell| tally.shift(cell, node.shown, Level::NONE));
            }
        }
        self.forget();
    }

    /// Forgets all blocks.
    pub(super) fn forget(&mut self) {
        *self = Self::new(self.seed);
    }

    /// Checks the count of its blocks against the engine's room on the GPU.
    pub(super) fn bound(&mut self, capacity_tokens: u64) {
        let fits = self.gpu_tokens() <= capacity_tokens;
        if fits || self.repeats == Repeats::Ignored {
            return;
        }
        self.repeats = Repeats::Ignored;
        for node in &mut self.nodes {
            node.held.gpu = node.held.gpu.min(1);
        }
        self.on_gpu = self.nodes.iter().map(|node| u64::from(node.held.gpu)).sum();
    }

    fn find(&self, hash: BlockHash) -> Option<Place> {
        let is_same = |place: &Place| self.node(*place).is_some_and(|node| node.hash == hash);
        self.places.find(self.hash(hash), is_same).copied()
    }

    fn hash(&self, hash: BlockHash) -> u64 {
        seeded(self.seed).hash_one(hash.0)
    }

    fn node(&self, place: Place) -> Option<&Node> {
        self.nodes.get(index(place))
    }

    fn node_mut(&mut self, place: Place) -> Option<&mut Node> {
        self.nodes.get_mut(index(place))
    }

    /// A known block is in a tier, too.
    fn hold(&mut self, place: Place, held: Held, tally: &mut Tally) {
        let is_counted = self.repeats == Repeats::Counted;
        let Some(node) = self.node_mut(place) else { return };
        let before = node.held.gpu;
        node.held = node.held.and(held);
        if !is_counted {
            node.held.gpu = node.held.gpu.min(1);
        }
        let more = u64::from(node.held.gpu - before.min(node.held.gpu));
        self.on_gpu = self.on_gpu.saturating_add(more);
        self.refresh(place, tally);
    }

    /// Places a new block at the end of its parent, and moves `end` to its own. `None`: there is no room.
    fn place(
        &mut self,
        new: &New<'_>,
        end: &mut End,
        chains: &Chains<'_>,
        tally: &mut Tally,
        counts: &mut Counts,
    ) -> Option<Place> {
        if self.len() >= BLOCKS_PER_RANK_MAX {
            counts.beyond += 1;
            return None;
        }
        let start = if new.parent == NOWHERE { end.previous } else { None };
        let known = self.waiting.take(new.hash).map(|orphan| orphan.held).unwrap_or_default();
        let (text, cells) = end.advance(new.tokens, start, chains, counts);
        let next = self.node(new.parent).map_or(NOWHERE, |parent| parent.child);
        let node = Node {
            hash: new.hash,
            text,
            parent: new.parent,
            child: NOWHERE,
            next,
            previous: NOWHERE,
            depth: end.depth,
            cells,
            held: Held::default(),
            shown: Level::NONE,
            flags: Flags::new(end.before, end.is_opaque),
        };
        let place = self.keep(node);
        if let Some(parent) = self.node_mut(new.parent) {
            parent.child = place;
        }
        if let Some(next) = self.node_mut(next) {
            next.previous = place;
        }
        let hash = self.hash(new.hash);
        let (nodes, state) = (&self.nodes, seeded(self.seed));
        self.places.insert_unique(hash, place, |place| {
            nodes.get(index(*place)).map_or(0, |node| state.hash_one(node.hash.0))
        });
        self.hold(place, new.held.and(known), tally);
        Some(place)
    }

    fn keep(&mut self, node: Node) -> Place {
        if let Some(place) = self.free.pop()
            && let Some(at) = self.nodes.get_mut(index(place))
        {
            *at = node;
            return place;
        }
        if self.nodes.len() == self.nodes.capacity() {
            // Twice the room would be half empty.
            self.nodes.reserve_exact(self.nodes.len() / 4 + 64);
        }
        self.nodes.push(node);
        u32_len(self.nodes.len() - 1)
    }

    /// Places the blocks that waited for a block, and those that waited for them.
    fn adopt(&mut self, hash: BlockHash, chains: &Chains<'_>, tally: &mut Tally, counts: &mut Counts) {
        let mut parents = vec![hash];
        while let Some(parent) = parents.pop() {
            let children = self.waiting.take_children(parent);
            if children.is_empty() {
                continue;
            }
            let Some(from) = self.find(parent) else { continue };
            for (hash, orphan) in children {
                let Some(body) = orphan.body else { continue };
                let mut end = self.end_of(from);
                end.is_opaque |= body.is_opaque;
                let new = New { hash, parent: from, tokens: &body.tokens, held: orphan.held };
                if self.place(&new, &mut end, chains, tally, counts).is_some() {
                    parents.push(hash);
                }
            }
        }
    }

    /// The end of a block's text, put together from it and those before it.
    fn end_of(&self, place: Place) -> End {
        let Some(node) = self.node(place) else { return End::default() };
        let mut end = End {
            depth: node.depth,
            before: node.flags.before(),
            is_opaque: node.flags.is_opaque(),
            ..End::default()
        };
        if end.is_opaque {
            // Nothing behind it has text. Such a chain has no cells to stop at: a walk would go to its beginning, for each block.
            return end;
        }
        let mut tails = Vec::new();
        let mut at = Some(node);
        while let Some(node) = at {
            tails.push(node.tail());
            end.previous = node.own_cells().last().or_else(|| node.start());
            if end.previous.is_some() {
                break;
            }
            at = self.node(node.parent);
        }
        tails.iter().rev().for_each(|tail| end.pending.extend_from_slice(tail));
        end
    }

    /// Brings what is reported of a block, and of those behind it, up to date.
    fn refresh(&mut self, place: Place, tally: &mut Tally) {
        let mut changed = vec![place];
        while let Some(place) = changed.pop() {
            let Some(node) = self.node(place) else { continue };
            let before = match node.parent {
                NOWHERE => Level::TOP,
                parent => self.node(parent).map_or(Level::NONE, |parent| parent.shown),
            };
            let own = if node.flags.is_opaque() { Level::NONE } else { node.held.level() };
            let shown = own.max(before);
            let was = node.shown;
            if shown == was {
                continue;
            }
            node.own_cells().for_each(|cell| tally.shift(cell, was, shown));
            let mut child = node.child;
            if let Some(node) = self.node_mut(place) {
                node.shown = shown;
            }
            while let Some(node) = self.node(child) {
                changed.push(child);
                child = node.next;
            }
        }
    }

    /// Forgets a block that is nowhere, and those before it that were kept for it alone. One that is nowhere is kept while others
    /// continue it: it may come back.
    fn prune(&mut self, place: Place) {
        let mut place = place;
        while let Some(node) = self.node(place) {
            if !node.held.is_nowhere() || node.child != NOWHERE {
                return;
            }
            let Node { hash, parent, next, previous, .. } = *node;
            if let Some(next) = self.node_mut(next) {
                next.previous = previous;
            }
            if let Some(previous) = self.node_mut(previous) {
                previous.next = next;
            } else if let Some(parent) = self.node_mut(parent) {
                parent.child = next;
            }
            let key = self.hash(hash);
            if let Ok(entry) = self.places.find_entry(key, |other| *other == place) {
                entry.remove();
            }
            if let Some(node) = self.node_mut(place) {
                *node = Node::gone();
            }
            self.free.push(place);
            place = parent;
        }
    }
}
