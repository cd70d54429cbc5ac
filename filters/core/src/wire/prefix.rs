//! Prefixes in a sequence of messages: each is written as a continuation of the one before it, and read back whole.
//!
//! ```text
//!   View::export ─► Prefix, depth first ─► the stream, a page of the log ─► PrefixDecoder ─► whole Prefix ─► View::apply
//! ```
//!
//! A snapshot of a prefix tree names each cell once this way. The cursor belongs to the sequence that is read (one
//! stream, one page), not to the view: between two prefixes of one stream, a view applies those of others.

use super::Prefix;
use crate::limits::CELLS_PER_PROMPT_MAX;
use crate::num::{index, u32_len};
use std::fmt;

/// Reads a sequence of prefixes.
#[derive(Clone, Debug, Default)]
pub struct PrefixDecoder {
    cells: Vec<u64>,
}

/// Writes a sequence of prefixes.
#[derive(Clone, Debug, Default)]
pub struct PrefixEncoder {
    cells: Vec<u64>,
}

/// A prefix that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixError {
    /// It continues a chain of which this sequence has fewer cells.
    Detached {
        /// Cells that it continues.
        depth: usize,
        /// Cells that there are.
        cells: usize,
    },
    /// It is longer than [`CELLS_PER_PROMPT_MAX`].
    TooLong {
        /// Its cells.
        cells: usize,
    },
}

// === impl PrefixDecoder ===

impl PrefixDecoder {
    /// The next prefix from its first cell, `depth` 0.
    pub fn decode(&mut self, prefix: &Prefix) -> Result<Prefix, PrefixError> {
        let depth = index(prefix.depth);
        if depth > self.cells.len() {
            return Err(PrefixError::Detached { depth, cells: self.cells.len() });
        }
        let cells = depth + prefix.cells.len();
        if cells > CELLS_PER_PROMPT_MAX {
            return Err(PrefixError::TooLong { cells });
        }
        self.cells.truncate(depth);
        self.cells.extend(&prefix.cells);
        let length = u32_len(cells);
        let held = prefix.held.iter().map(|held| prefix.depth.saturating_add(*held).min(length)).collect();
        Ok(Prefix { depth: 0, cells: self.cells.clone(), endpoints: prefix.endpoints.clone(), held })
    }
}

// === impl PrefixEncoder ===

impl PrefixEncoder {
    /// A whole prefix as a continuation of the one before it, as far as they agree.
    pub fn encode(&mut self, whole: &Prefix) -> Prefix {
        let shared = self.cells.iter().zip(&whole.cells).take_while(|(old, new)| old == new).count();
        // A holder of fewer cells than the shared ones could not be written otherwise.
        let depth = whole.held.iter().map(|held| index(*held)).fold(shared, usize::min);
        self.cells.truncate(depth);
        self.cells.extend(whole.cells.iter().skip(depth));
        let held = whole.held.iter().map(|held| held.saturating_sub(u32_len(depth))).collect();
        Prefix {
            depth: u32_len(depth),
            cells: whole.cells.iter().skip(depth).copied().collect(),
            endpoints: whole.endpoints.clone(),
            held,
        }
    }
}

// === impl PrefixError ===

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Detached { depth, cells } => {
                write!(f, "prefix continues {depth} cells where there are {cells}")
            }
            Self::TooLong { cells } => {
                write!(f, "prefix has {cells} cells, {CELLS_PER_PROMPT_MAX} at most")
            }
        }
    }
}

impl std::error::Error for PrefixError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix(depth: u32, cells: &[u64], held: u32) -> Prefix {
        Prefix { depth, cells: cells.to_vec(), endpoints: vec![7], held: vec![held] }
    }

    #[test]
    fn a_prefix_is_read_whole_from_those_before_it() {
        let mut decoder = PrefixDecoder::default();
        assert_eq!(decoder.decode(&prefix(0, &[1, 2], 2)), Ok(prefix(0, &[1, 2], 2)));
        assert_eq!(decoder.decode(&prefix(2, &[3, 4], 1)), Ok(prefix(0, &[1, 2, 3, 4], 3)));
        assert_eq!(decoder.decode(&prefix(1, &[5], 1)), Ok(prefix(0, &[1, 5], 2)));
    }

    #[test]
    fn what_cannot_be_attached_is_an_error_and_leaves_the_sequence_as_it_was() {
        let mut decoder = PrefixDecoder::default();
        decoder.decode(&prefix(0, &[1, 2], 2)).unwrap();
        assert_eq!(decoder.decode(&prefix(3, &[6], 1)), Err(PrefixError::Detached { depth: 3, cells: 2 }));
        let long = vec![9; CELLS_PER_PROMPT_MAX];
        let cells = CELLS_PER_PROMPT_MAX + 1;
        assert_eq!(decoder.decode(&prefix(1, &long, 1)), Err(PrefixError::TooLong { cells }));
        assert_eq!(decoder.decode(&prefix(2, &[3], 1)), Ok(prefix(0, &[1, 2, 3], 3)));
    }

    proptest! {
        #[test]
        fn every_sequence_is_read_as_it_was_written(
            sent in prop::collection::vec((prop::collection::vec(0_u64..3, 1..8), 1_u32..8), 1..12),
        ) {
            let (mut encoder, mut decoder) = (PrefixEncoder::default(), PrefixDecoder::default());
            for (cells, held) in sent {
                let held = held.min(u32_len(cells.len()));
                let whole = prefix(0, &cells, held);
                prop_assert_eq!(decoder.decode(&encoder.encode(&whole)), Ok(whole));
            }
        }
    }
}
