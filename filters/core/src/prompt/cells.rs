//! Text -> chain: cuts the text into cells of a fixed size and hashes each together with the hash of all cells before
//! it, as engines hash their KV blocks.
//!
//! XXH3 is not cryptographic. A client that finds a collision gains a wrong preference for its own request.

use super::sink::Sink;
use super::size::PARTS_MAX;
use super::{Measured, MediaKind, MediaPart, Request, TextSink};
use crate::ids::{CellHash, FormatId, SessionKey};
use crate::limits::{CELL_BYTES_MAX, CELL_BYTES_MIN, CELLS_PER_PROMPT_MAX};
use crate::num::{u32_len, u64_len};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The seed of every chain of this format. Change it when the canonical text changes, so that two versions never
/// match each other's cells.
const FORMAT_SEED: u64 = 3;

/// The seed of the chains of sessions, which must not match those of texts.
const SESSION_SEED: u64 = 4;

/// The root of a chain: nothing matches across pools, adapters or tenants' salts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root(u64);

/// The hash of a cell that follows `previous` in its chain: the last cell before it, or what a chain begins with
/// ([`Root::start`]). Whoever knows that and the text since then can continue a chain at any place.
pub fn next_cell(CellHash(previous): CellHash, cell: &[u8]) -> CellHash {
    // The previous hash is not the cell's own seed: beyond 240 bytes XXH3 first derives a secret of 192 bytes from
    // every new seed.
    CellHash(xxh3_64_with_seed(&xxh3_64(cell).to_le_bytes(), previous))
}

/// Cuts and hashes text piece by piece.
#[derive(Debug)]
pub(super) struct CellHasher<'a> {
    cell_bytes: usize,
    previous: CellHash,
    pending: Vec<u8>,
    chain: &'a mut Vec<CellHash>,
    measured: Measured,
}

/// Hashes the request's prompt into `chain` (which is cleared first): one hash for each whole cell, at most
/// [`CELLS_PER_PROMPT_MAX`]. `cell_bytes` is clamped to its limits. A tail that
/// fills no cell is left out: engines cache whole blocks only. What is measured is the whole prompt.
pub fn cells_of(request: &Request<'_>, root: Root, cell_bytes: usize, chain: &mut Vec<CellHash>) -> Measured {
    chain.clear();
    let cell_bytes = cell_bytes.clamp(CELL_BYTES_MIN, CELL_BYTES_MAX);
    let mut hasher = CellHasher::new(cell_bytes, root, chain);
    request.text(&mut Sink::Cells(&mut hasher));
    hasher.measured
}

/// Hashes text that `write` sends into `chain` (which is cleared first), as [`cells_of`] does. If it fails, what the chain has is of
/// no use.
pub(super) fn cells_from<E>(
    root: Root,
    cell_bytes: usize,
    chain: &mut Vec<CellHash>,
    write: impl FnOnce(&mut Sink<'_, '_>) -> Result<(), E>,
) -> Result<Measured, E> {
    chain.clear();
    let cell_bytes = cell_bytes.clamp(CELL_BYTES_MIN, CELL_BYTES_MAX);
    let mut hasher = CellHasher::new(cell_bytes, root, chain);
    write(&mut Sink::Cells(&mut hasher))?;
    Ok(hasher.measured)
}

/// Fills `chain` (which is cleared first) with the cells of a session whose prompt is unknown: as many as a prompt of its body's
/// size would have. Like the turns of a conversation, a longer prompt of a session begins with the cells of a shorter one; no
/// other session has them.
pub fn session_cells(session: SessionKey, root: Root, cells: usize, chain: &mut Vec<CellHash>) {
    chain.clear();
    let cell = session.0.to_le_bytes();
    let root = xxh3_64_with_seed(&root.0.to_le_bytes(), SESSION_SEED);
    let next = |previous: &CellHash| Some(CellHash(xxh3_64_with_seed(&cell, previous.0)));
    let hashes = std::iter::successors(next(&CellHash(root)), next);
    chain.extend(hashes.take(cells.clamp(1, CELLS_PER_PROMPT_MAX)));
}

// === impl Root ===

impl Root {
    /// The root for a pool, an adapter in it (empty for the base model) and a tenant's salt.
    pub fn new(pool: &str, adapter: &str, salt: &str) -> Self {
        // The length is part of each seed, so that ("ab", "c") differs from ("a", "bc").
        let fold = |seed: u64, part: &str| {
            xxh3_64_with_seed(part.as_bytes(), seed ^ u64_len(part.len()).rotate_left(32))
        };
        Self([pool, adapter, salt].into_iter().fold(FORMAT_SEED, fold))
    }

    /// The root of the same prompts as engines write them, in the format of this id, instead of in the canonical text.
    #[must_use]
    pub fn written(self, FormatId(format): FormatId) -> Self {
        Self(xxh3_64_with_seed(&format.to_le_bytes(), self.0))
    }

    /// What the first cell of its chains follows.
    pub fn start(self) -> CellHash {
        CellHash(self.0)
    }
}

// === impl CellHasher ===

impl<'a> CellHasher<'a> {
    fn new(cell_bytes: usize, root: Root, chain: &'a mut Vec<CellHash>) -> Self {
        let pending = Vec::with_capacity(cell_bytes);
        Self { cell_bytes, previous: root.start(), pending, chain, measured: Measured::default() }
    }

    fn close_cell(&mut self, cell: &[u8]) -> bool {
        self.previous = next_cell(self.previous, cell);
        self.chain.push(self.previous);
        self.chain.len() < CELLS_PER_PROMPT_MAX
    }
}

impl TextSink for CellHasher<'_> {
    fn push(&mut self, piece: &[u8]) -> bool {
        self.note_text(piece.len());
        // It is never full: what lies beyond the cells is measured all the same.
        if self.chain.len() >= CELLS_PER_PROMPT_MAX {
            return true;
        }
        let mut rest = piece;
        if !self.pending.is_empty() {
            let missing = self.cell_bytes - self.pending.len();
            let (head, tail) = rest.split_at(missing.min(rest.len()));
            self.pending.extend_from_slice(head);
            rest = tail;
            if self.pending.len() < self.cell_bytes {
                return true;
            }
            let cell = std::mem::take(&mut self.pending);
            let wants_more = self.close_cell(&cell);
            self.pending = cell;
            self.pending.clear();
            if !wants_more {
                return true;
            }
        }
        let mut cells = rest.chunks_exact(self.cell_bytes);
        self.chain.reserve(cells.len().min(CELLS_PER_PROMPT_MAX - self.chain.len()));
        for cell in cells.by_ref() {
            if !self.close_cell(cell) {
                return true;
            }
        }
        self.pending.extend_from_slice(cells.remainder());
        true
    }

    fn note_media(&mut self, kind: MediaKind) {
        self.measured.size.media.add(kind);
        if self.measured.parts.len() < PARTS_MAX {
            self.measured.parts.push(MediaPart { cell: u32_len(self.chain.len()), kind });
        }
    }

    fn note_text(&mut self, bytes: usize) {
        let size = &mut self.measured.size;
        size.text_bytes = size.text_bytes.saturating_add(u64_len(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chain(pieces: &[&[u8]], cell_bytes: usize) -> Vec<CellHash> {
        let mut chain = Vec::new();
        let mut hasher = CellHasher::new(cell_bytes, Root(7), &mut chain);
        for piece in pieces {
            hasher.push(piece);
        }
        chain
    }

    proptest! {
        #[test]
        fn the_cuts_between_pieces_do_not_matter(text in prop::collection::vec(any::<u8>(), 0..2000), cuts in prop::collection::vec(0_usize..2000, 0..8)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &text[w[0]..w[1]]).collect();
            prop_assert_eq!(chain(&pieces, 64), chain(&[&text], 64));
        }

        #[test]
        fn a_chain_goes_on_at_any_place(text in prop::collection::vec(any::<u8>(), 0..2000), at in 0_usize..2000) {
            let whole = chain(&[&text], 64);
            let at = at.min(text.len());
            let before = at / 64;
            let mut previous = before.checked_sub(1).map_or(Root(7).start(), |last| whole[last]);
            let mut chain = whole[..before].to_vec();
            for cell in text[before * 64..].chunks_exact(64) {
                previous = next_cell(previous, cell);
                chain.push(previous);
            }
            prop_assert_eq!(chain, whole);
        }

        #[test]
        fn equal_up_to_the_first_difference(text in prop::collection::vec(any::<u8>(), 256..2000), at in 0_usize..2000) {
            let at = at % text.len();
            let mut other = text.clone();
            other[at] ^= 1;
            let (a, b) = (chain(&[&text], 64), chain(&[&other], 64));
            let same = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
            prop_assert_eq!(same, (at / 64).min(a.len()));
            prop_assert!(a.iter().zip(&b).skip(same).all(|(a, b)| a != b));
        }
    }

    #[test]
    fn a_session_grows_and_is_no_other() {
        let root = Root::new("pool", "", "");
        let cells = |session, root, cells| {
            let mut chain = Vec::new();
            session_cells(SessionKey(session), root, cells, &mut chain);
            chain
        };
        let long = cells(1, root, 9);
        assert_eq!(cells(1, root, 4), long[..4]);
        assert_ne!(cells(2, root, 1), long[..1]);
        assert_ne!(cells(1, Root::new("other", "", ""), 1), long[..1]);
        assert_eq!((cells(1, root, 0).len(), cells(1, root, usize::MAX).len()), (1, CELLS_PER_PROMPT_MAX));
    }

    #[test]
    fn a_chain_ends_at_its_bound() {
        let text = vec![b'x'; 64 * (CELLS_PER_PROMPT_MAX + 10)];
        assert_eq!(chain(&[&text], 64).len(), CELLS_PER_PROMPT_MAX);
        assert_eq!(chain(&[&text[..100], &text], 64).len(), CELLS_PER_PROMPT_MAX);
    }

    #[test]
    fn roots_do_not_run_into_each_other() {
        let roots = [
            Root::new("ab", "c", ""),
            Root::new("a", "bc", ""),
            Root::new("abc", "", ""),
            Root::new("", "abc", ""),
            Root::new("ab", "", "c"),
        ];
        for (at, root) in roots.iter().enumerate() {
            assert!(!roots[at + 1..].contains(root), "root {at} is not alone");
        }
    }
}
