//! In which tiers a block is.

use super::tally::{Level, TIERS};
use warmpath_core::wire::Tier;

/// Where a block is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// How often on the GPU: an engine that computes a prompt twice at a time keeps both.
    pub(super) gpu: u8,
    /// In which tiers below it, one bit each.
    pub(super) below: u8,
}

// === impl Held ===

impl Held {
    pub(super) fn is_nowhere(self) -> bool {
        self == Self::default()
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self { gpu: self.gpu.saturating_add(other.gpu), below: self.below | other.below }
    }

    pub(super) fn without(self, gone: Self) -> Self {
        Self { gpu: self.gpu.saturating_sub(gone.gpu), below: self.below & !gone.below }
    }

    pub(super) fn of(tier: Tier) -> Self {
        match Level::of(tier) {
            Level::TOP => Self { gpu: 1, below: 0 },
            Level(level) => Self { gpu: 0, below: 1 << level },
        }
    }

    /// The highest of its tiers.
    pub(super) fn level(self) -> Level {
        if self.gpu > 0 {
            return Level::TOP;
        }
        let below = (1..).take(TIERS.len() - 1).find(|level| self.below >> level & 1 == 1);
        below.map_or(Level::NONE, Level)
    }
}
