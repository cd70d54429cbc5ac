//! Messages that are published while a replay runs.
//!
//! Bounded. What does not fit is dropped: the engine has it still, and the gap is seen like any other.

use super::Content;
use std::collections::VecDeque;

/// Messages that are held.
const HELD_MAX: usize = 4096;
/// Bytes of their payloads.
const HELD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Messages with ascending numbers.
#[derive(Debug, Default)]
pub(super) struct Held {
    messages: VecDeque<Kept>,
    bytes: usize,
    /// The number of the last one that came, whether it was kept or not.
    last: Option<u64>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) sequence: u64,
    pub(super) content: Content,
}

// === impl Held ===

impl Held {
    /// Whether a number is not beyond all that came: it is of another process.
    pub(super) fn is_behind(&self, sequence: u64) -> bool {
        self.last.is_some_and(|last| sequence <= last)
    }

    pub(super) fn keep(&mut self, sequence: u64, content: Content) {
        self.last = Some(sequence);
        let bytes = self.bytes.saturating_add(content.bytes);
        if self.messages.len() < HELD_MAX && bytes <= HELD_BYTES_MAX {
            self.bytes = bytes;
            self.messages.push_back(Kept { sequence, content });
        }
    }
}

impl IntoIterator for Held {
    type Item = Kept;
    type IntoIter = std::collections::vec_deque::IntoIter<Kept>;

    fn into_iter(self) -> Self::IntoIter {
        self.messages.into_iter()
    }
}
