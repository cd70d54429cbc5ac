//! The two uses of a prompt's text in one type.
//!
//! The code that takes a prompt apart is generic over its sink, and would be in the filter twice: 25 KB that each VM compiles
//! when it starts.

use super::cells::CellHasher;
use super::opening::Opening;
use super::{MediaKind, TextSink};

/// Takes text for one of its uses.
pub(super) enum Sink<'a, 'chain> {
    /// The prompt's chain.
    Cells(&'a mut CellHasher<'chain>),
    /// What the conversation begins with.
    Opening(&'a mut Opening),
}

// === impl Sink ===

impl TextSink for Sink<'_, '_> {
    fn push(&mut self, piece: &[u8]) -> bool {
        match self {
            Self::Cells(cells) => cells.push(piece),
            Self::Opening(opening) => opening.push(piece),
        }
    }

    fn note_media(&mut self, kind: MediaKind) {
        match self {
            Self::Cells(cells) => cells.note_media(kind),
            Self::Opening(opening) => opening.note_media(kind),
        }
    }

    fn note_text(&mut self, bytes: usize) {
        match self {
            Self::Cells(cells) => cells.note_text(bytes),
            Self::Opening(opening) => opening.note_text(bytes),
        }
    }
}
