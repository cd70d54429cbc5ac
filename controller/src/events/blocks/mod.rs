//! Token blocks -> cells: what one endpoint holds, as proxies know it.
//!
//! ```text
//!   Step (of a rank) ─► Table (its blocks, a forest) ─► Tally (the endpoint's cells) ─► Changes
//!                         ▲                  ▲
//!           TokenText ────┘     Waiting ─────┘ (blocks whose parent is unknown)
//! ```
//!
//! A block's text continues its parent's, so a cell that ends in it belongs to it. A proxy takes a cell that is reported for a whole
//! prefix. So a cell is reported only while its block and all before it are held, and in the lowest tier of these: the next cell of a
//! chain is never in a higher one. A block that leaves takes the cells behind it out of the reports, and brings them back when it
//! returns.
//!
//! Pure: time is an argument. An engine decides how much it holds, so everything here has a bound; beyond it, blocks are counted and
//! not followed.

mod end;
mod held;
mod node;
mod table;
mod tally;
mod waiting;

use super::tokens::TokenText;
use super::{Batch, KvEvent, RANKS_MAX, Step};
use std::collections::BTreeMap;
use table::Table;
use tally::Tally;
use warmpath_core::ids::{CellHash, FormatId};
use warmpath_core::num::{index, u64_len};
use warmpath_core::time::Timestamp;
use warmpath_core::wire::{Tier, Trust};

/// Blocks of one rank that are followed: 16 million tokens in blocks of 16, which take 150 MB.
pub const BLOCKS_PER_RANK_MAX: usize = 1 << 20;

/// What makes text of an endpoint's tokens, and chains of the text.
#[derive(Clone, Copy, Debug)]
pub struct Chains<'a> {
    /// The pool's name.
    pub pool: &'a str,
    /// How its prompts are written.
    pub format: FormatId,
    /// Bytes of text in a cell.
    pub cell_bytes: usize,
    /// The text of its tokens.
    pub tokens: &'a TokenText,
}

/// What one endpoint holds.
#[derive(Debug)]
pub struct Blocks {
    ranks: BTreeMap<u32, Rank>,
    tally: Tally,
    seed: u64,
    counts: Counts,
}

/// What is to be published of one endpoint, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Whether all cells that were published before are void.
    pub is_cleared: bool,
    /// Cells that it holds no more.
    pub removed: Vec<CellHash>,
    /// Cells that it holds, with their tiers.
    pub stored: Vec<(Tier, CellHash)>,
}

/// What became of blocks since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Blocks that were stored.
    pub stored: u64,
    /// Blocks that were removed.
    pub removed: u64,
    /// Blocks whose parent was unknown when they came.
    pub orphans: u64,
    /// Blocks that waited in vain for their parent or their tokens.
    pub lost: u64,
    /// Blocks with a token that the vocabulary does not have.
    pub unknown_tokens: u64,
    /// Blocks that text alone does not determine, and those behind them.
    pub opaque: u64,
    /// Blocks beyond [`BLOCKS_PER_RANK_MAX`].
    pub beyond: u64,
}

#[derive(Debug)]
struct Rank {
    table: Table,
    trust: Trust,
    /// Whether a block was dropped since the last clear, for want of room or of its parent: the engine holds more than is known.
    has_dropped: bool,
}

// === impl Blocks ===

impl Blocks {
    /// An endpoint that holds nothing. No client may know `seed`.
    pub fn new(seed: u64) -> Self {
        Self { ranks: BTreeMap::new(), tally: Tally::new(seed), seed, counts: Counts::default() }
    }

    /// Takes a step of one rank. One beyond [`RANKS_MAX`] is not followed.
    pub fn step(&mut self, rank: u32, step: &Step, chains: &Chains<'_>, now: Timestamp) {
        if self.ranks.len() >= index(RANKS_MAX) && !self.ranks.contains_key(&rank) {
            return;
        }
        match step {
            Step::Apply(Batch { events }) => {
                for event in events {
                    self.apply(rank, event, chains, now);
                }
            }
            Step::Trust { trust, is_cleared } => {
                self.rank(rank).trust = *trust;
                if *is_cleared {
                    self.clear(rank);
                }
            }
            Step::Gone => {
                self.clear(rank);
                self.ranks.remove(&rank);
            }
        }
    }

    /// How far the reports of all ranks together can be relied on: a prompt may go to any of them.
    pub fn trust(&self) -> Trust {
        self.ranks.values().map(Rank::trust).min_by_key(|trust| reach(*trust)).unwrap_or(Trust::None)
    }

    /// States how many tokens the engine has room for on the GPUs of all its ranks together. Returns the room of each.
    pub fn bound(&mut self, capacity_tokens: u64) -> u64 {
        let room = capacity_tokens / u64_len(self.ranks.len()).max(1);
        self.ranks.values_mut().for_each(|rank| rank.table.bound(room));
        room
    }

    /// Tokens that each rank holds on its GPU.
    pub fn gpu_tokens(&self) -> impl Iterator<Item = (u32, u64)> {
        self.ranks.iter().map(|(rank, of)| (*rank, of.table.gpu_tokens()))
    }

    /// Blocks that are known of.
    pub fn blocks(&self) -> usize {
        self.ranks.values().map(|rank| rank.table.len()).sum()
    }

    /// Cells that are held.
    pub fn cells(&self) -> usize {
        self.tally.len()
    }

    /// What became of blocks so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What is to be published since the last call.
    pub fn drain(&mut self) -> Changes {
        self.tally.drain()
    }

    fn apply(&mut self, rank: u32, event: &KvEvent, chains: &Chains<'_>, now: Timestamp) {
        let seed = self.seed;
        let Self { ranks, tally, counts, .. } = self;
        let of = ranks.entry(rank).or_insert_with(|| Rank::new(seed));
        match event {
            KvEvent::Stored(stored) => {
                let before = counts.dropped();
                of.table.store(stored, chains, now, tally, counts);
                of.has_dropped |= counts.dropped() > before;
            }
            KvEvent::Removed { hashes, tier, .. } => of.table.remove(hashes, *tier, tally, counts),
            KvEvent::Cleared => self.clear(rank),
        }
    }

    fn rank(&mut self, rank: u32) -> &mut Rank {
        let seed = self.seed;
        self.ranks.entry(rank).or_insert_with(|| Rank::new(seed))
    }

    fn clear(&mut self, rank: u32) {
        let others = self.ranks.iter().filter(|(other, of)| **other != rank && of.table.len() > 0).count();
        let Some(cleared) = self.ranks.get_mut(&rank) else { return };
        self.counts.removed += u64_len(cleared.table.len());
        cleared.has_dropped = false;
        if others == 0 {
            // One small message instead of all cells.
            cleared.table.forget();
            self.tally.clear();
        } else {
            cleared.table.clear(&mut self.tally);
        }
    }
}

// === impl Counts ===

impl Counts {
    /// Blocks that an engine holds and nothing is known of.
    fn dropped(self) -> u64 {
        self.lost + self.beyond
    }

    /// The sums of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            stored: self.stored + other.stored,
            removed: self.removed + other.removed,
            orphans: self.orphans + other.orphans,
            lost: self.lost + other.lost,
            unknown_tokens: self.unknown_tokens + other.unknown_tokens,
            opaque: self.opaque + other.opaque,
            beyond: self.beyond + other.beyond,
        }
    }
}

// === impl Rank ===

impl Rank {
    fn new(seed: u64) -> Self {
        Self { table: Table::new(seed), trust: Trust::None, has_dropped: false }
    }

    fn trust(&self) -> Trust {
        if self.has_dropped && self.trust == Trust::Whole { Trust::Partial } else { self.trust }
    }
}

/// The lower, the less can be relied on.
fn reach(trust: Trust) -> u8 {
    match trust {
        Trust::None => 0,
        Trust::Suspect => 1,
        Trust::Partial => 2,
        Trust::Whole => 3,
    }
}
