//! One block, as its table keeps it.

use super::super::BlockHash;
use super::held::Held;
use super::tally::Level;
use crate::events::tokens::Before;
use warmpath_core::ids::CellHash;

/// Bytes of a hash in a block's text.
pub(super) const HASH_BYTES: usize = 8;

/// A place in [`Table::nodes`].
pub(super) type Place = u32;

/// No place.
pub(super) const NOWHERE: Place = u32::MAX;

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) hash: BlockHash,
    /// Its cells, and then the text behind the last of them. Before these, the start of the chain if it has no parent.
    pub(super) text: Box<[u8]>,
    pub(super) parent: Place,
    /// The first of its children, who are a list.
    pub(super) child: Place,
    pub(super) next: Place,
    pub(super) previous: Place,
    /// Cells of its chain up to its end.
    pub(super) depth: u16,
    /// Those of them that are its own.
    pub(super) cells: u16,
    pub(super) held: Held,
    /// Where it is reported to be: nowhere while one before it is not held.
    pub(super) shown: Level,
    pub(super) flags: Flags,
}

/// What stands at its end, and whether it has no cells because its text does not determine it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags(u8);

// === impl Node ===

impl Node {
    /// What a place has that is not used.
    pub(super) fn gone() -> Self {
        Self {
            hash: BlockHash(0),
            text: Box::default(),
            parent: NOWHERE,
            child: NOWHERE,
            next: NOWHERE,
            previous: NOWHERE,
            depth: 0,
            cells: 0,
            held: Held::default(),
            shown: Level::NONE,
            flags: Flags::default(),
        }
    }

    pub(super) fn has_start(&self) -> bool {
        self.parent == NOWHERE && !self.text.is_empty()
    }

    pub(super) fn hashes(&self) -> usize {
        usize::from(self.cells) + usize::from(self.has_start())
    }

    pub(super) fn start(&self) -> Option<CellHash> {
        if self.has_start() { self.text.first_chunk().copied().map(of_bytes) } else { None }
    }

    pub(super) fn own_cells(&self) -> impl Iterator<Item = CellHash> {
        let hashes = self.text.get(..self.hashes() * HASH_BYTES).unwrap_or_default();
        let (hashes, _) = hashes.as_chunks();
        hashes.iter().skip(usize::from(self.has_start())).copied().map(of_bytes)
    }

    pub(super) fn tail(&self) -> &[u8] {
        self.text.get(self.hashes() * HASH_BYTES..).unwrap_or_default()
    }
}

pub(super) fn of_bytes(bytes: [u8; HASH_BYTES]) -> CellHash {
    CellHash(u64::from_le_bytes(bytes))
}

// === impl Flags ===

impl Flags {
    pub(super) const OPAQUE: u8 = 4;

    pub(super) fn new(before: Before, is_opaque: bool) -> Self {
        Self(before.to_bits() | if is_opaque { Self::OPAQUE } else { 0 })
    }

    pub(super) fn before(self) -> Before {
        Before::of_bits(self.0 & !Self::OPAQUE)
    }

    pub(super) fn is_opaque(self) -> bool {
        self.0 & Self::OPAQUE != 0
    }
}
