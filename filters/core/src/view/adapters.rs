//! Which LoRA adapters an endpoint has used lately, and which are needed there next.
//!
//! A batch mixes a few adapters. A request for another one waits until all requests of one of those have ended, and an adapter that
//! is not on the GPU has to be loaded. Engines show the adapters of their running and waiting requests together, so which of them wait
//! cannot be seen from outside; which of what was sent there has its first token can.

use super::View;
use crate::ids::{AdapterId, Slot};
use crate::time::Timestamp;

/// Adapters that are remembered of one endpoint, those that were used last: as many as any batch mixes.
const ADAPTERS_MAX: usize = 64;

/// See the module; the one that was used last comes last.
#[derive(Clone, Debug, Default)]
pub struct Adapters(Vec<Used>);

/// One adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// Which.
    pub adapter: AdapterId,
    /// When a request of it had its first token, the last time.
    pub served: Timestamp,
}

// === impl Adapters ===

impl Adapters {
    /// A request of an adapter has its first token.
    pub(super) fn serve(&mut self, adapter: AdapterId, now: Timestamp) {
        if adapter == AdapterId::BASE {
            return;
        }
        self.0.retain(|used| used.adapter != adapter);
        if self.0.len() >= ADAPTERS_MAX {
            self.0.remove(0);
        }
        self.0.push(Used { adapter, served: now });
    }

    /// All of them, the one that was used last first.
    pub fn latest(&self) -> impl Iterator<Item = Used> {
        self.0.iter().rev().copied()
    }
}

// === impl View ===

impl View {
    /// How many adapters besides this one are needed by requests that were sent to an endpoint and have no first token, where the batch
    /// does not have them already; none where no adapter is meant.
    pub fn adapters_coming(
        &self,
        slot: Slot,
        adapter: AdapterId,
        is_in_batch: impl Fn(AdapterId) -> bool,
    ) -> usize {
        if adapter == AdapterId::BASE {
            return 0;
        }
        self.expected.adapters(slot).filter(|coming| *coming != adapter && !is_in_batch(*coming)).count()
    }
}
