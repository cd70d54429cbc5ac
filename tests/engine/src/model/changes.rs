//! What changes in a cache, for those who report it: off unless somebody asks.
//!
//! Blocks are named when a step is scheduled; what the engine reports of that leaves it when the step ends, as vLLM's events do.

use super::{chain::BlockHash, sequence::RequestId};

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheChange {
    /// A block of a request can be found on the GPU from now on.
    Stored {
        /// The request that filled it.
        request: RequestId,
        /// Its number in the request's chain.
        at: usize,
    },
    /// The GPU has given a block's room away.
    Removed(BlockHash),
    /// A tier has taken a block in.
    Sunk {
        /// Which block.
        block: BlockHash,
        /// The tier's number, from the nearest.
        tier: usize,
    },
    /// A tier has let a block go.
    Dropped {
        /// Which block.
        block: BlockHash,
        /// The tier's number, from the nearest.
        tier: usize,
    },
    /// Nothing can be found any more.
    Cleared,
}

/// The changes by step.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Whether anybody wants them.
    is_on: bool,
    /// Of the step under way, and of the time since the last one.
    open: Vec<CacheChange>,
    closed: Vec<Vec<CacheChange>>,
}

// === impl Changes ===

impl Changes {
    pub(super) fn start(&mut self) {
        self.is_on = true;
    }

    pub(super) fn note(&mut self, change: CacheChange) {
        if self.is_on {
            self.open.push(change);
        }
    }

    pub(super) fn end_step(&mut self) {
        if self.is_on {
            self.closed.push(std::mem::take(&mut self.open));
        }
    }

    pub(super) fn take(&mut self) -> Vec<Vec<CacheChange>> {
        std::mem::take(&mut self.closed)
    }

    pub(super) fn discard(&mut self) {
        self.open.clear();
        self.closed.clear();
    }
}
