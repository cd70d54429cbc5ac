//! What goes into a follower and comes out of it.

use crate::events::Step;
use crate::events::frame::{Decoded, FrameError};

/// A request for the messages from a number on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Returned with each of its messages: those of an older request are ignored.
    pub id: u64,
    /// The number.
    pub from: u64,
}

/// What a message brought.
#[derive(Clone, Debug)]
pub struct Content {
    /// Its events; why it cannot be understood.
    pub decoded: Result<Decoded, FrameError>,
    /// XXH3-64 of its payload.
    pub digest: u64,
    /// Bytes of its payload.
    pub bytes: usize,
}

/// What follows from an input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What the receiver is to do, in this order.
    pub steps: Vec<Step>,
    /// Ask for a replay now; an earlier one is void.
    pub ask: Option<Ask>,
}

/// What went wrong, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Messages that were missing.
    pub gaps: u64,
    /// Those that no replay brought.
    pub lost: u64,
    /// Beginnings of another process, and clears of unknown origin.
    pub restarts: u64,
    /// Replays that were asked for.
    pub replays: u64,
    /// Messages that came too late.
    pub late: u64,
}

// === impl Faults ===

impl Faults {
    /// The counts with their names in metrics.
    pub fn labelled(self) -> [(&'static str, u64); 5] {
        let Self { gaps, lost, restarts, replays, late } = self;
        [("gap", gaps), ("lost", lost), ("restart", restarts), ("replay", replays), ("late", late)]
    }
}
