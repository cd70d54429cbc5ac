//! The cells of one endpoint, over all blocks that they end in, and what of them has yet to be published.
//!
//! A cell can end in several blocks: data-parallel ranks hold the same prompts, and one text can be two sequences of tokens, once as
//! the model generated them and once as the tokenizer cuts the next prompt. It is held for as long as one of these blocks is.

use super::Changes;
use std::mem::take;
use warmpath_core::hash::{SeededMap, seeded};
use warmpath_core::ids::CellHash;
use warmpath_core::wire::Tier;

/// The tiers, from the highest to the lowest.
pub(super) const TIERS: [Tier; 4] = [Tier::Gpu, Tier::Cpu, Tier::Disk, Tier::Remote];

/// Where something can be had: its place in [`TIERS`], or behind them if nowhere. The lower of two is the larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Level(pub(super) u8);

#[derive(Debug)]
pub(super) struct Tally {
    cells: SeededMap<CellHash, Holding>,
    /// Cells whose level may have changed, in order.
    touched: Vec<CellHash>,
    /// Whether all that was published is void.
    is_cleared: bool,
    seed: u64,
}

/// One cell.
#[derive(Clone, Copy, Debug, Default)]
struct Holding {
    /// Blocks that have it, by level. At 255 further ones are not counted: when that many have gone, the others do not show it.
    blocks: [u8; TIERS.len()],
    /// Where it was published to be, while it is touched.
    published: Option<Level>,
}

// === impl Level ===

impl Level {
    /// Nowhere.
    pub(super) const NONE: Self = Self(4);
    /// On the GPU.
    pub(super) const TOP: Self = Self(0);

    pub(super) fn of(tier: Tier) -> Self {
        Self(match tier {
            Tier::Gpu => 0,
            Tier::Cpu => 1,
            Tier::Disk => 2,
            Tier::Remote => 3,
        })
    }

    fn tier(self) -> Option<Tier> {
        TIERS.get(usize::from(self.0)).copied()
    }
}

// === impl Tally ===

impl Tally {
    pub(super) fn new(seed: u64) -> Self {
        let cells = SeededMap::with_hasher(seeded(seed));
        Self { cells, touched: Vec::new(), is_cleared: false, seed }
    }

    /// A block that has a cell moves from one level to another.
    pub(super) fn shift(&mut self, cell: CellHash, from: Level, to: Level) {
        let holding = self.cells.entry(cell).or_default();
        if holding.published.is_none() {
            holding.published = Some(holding.level());
            self.touched.push(cell);
        }
        if let Some(blocks) = holding.blocks.get_mut(usize::from(from.0)) {
            *blocks = blocks.saturating_sub(1);
        }
        if let Some(blocks) = holding.blocks.get_mut(usize::from(to.0)) {
            *blocks = blocks.saturating_add(1);
        }
    }

    /// No block holds anything.
    pub(super) fn clear(&mut self) {
        *self = Self { is_cleared: true, ..Self::new(self.seed) };
    }

    /// Cells that are held.
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    /// What is to be published since the last call.
    pub(super) fn drain(&mut self) -> Changes {
        let mut changes = Changes { is_cleared: take(&mut self.is_cleared), ..Changes::default() };
        for cell in take(&mut self.touched) {
            let Some(holding) = self.cells.get_mut(&cell) else { continue };
            let (before, now) = (take(&mut holding.published), holding.level());
            match now.tier() {
                None => {
                    self.cells.remove(&cell);
                    if before != Some(Level::NONE) {
                        changes.removed.push(cell);
                    }
                }
                Some(tier) if before != Some(now) => changes.stored.push((tier, cell)),
                Some(_) => {}
            }
        }
        changes
    }
}

// === impl Holding ===

impl Holding {
    fn level(self) -> Level {
        let level = self.blocks.iter().zip(0..).find(|(blocks, _)| **blocks > 0);
        level.map_or(Level::NONE, |(_, level)| Level(level))
    }
}
