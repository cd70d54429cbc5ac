//! The end of a block's text, where the next one continues: tokens -> text -> cells.

use super::super::ExtraKey;
use super::{Chains, Counts};
use crate::events::tokens::Before;
use warmpath_core::ids::CellHash;
use warmpath_core::limits::CELLS_PER_PROMPT_MAX;
use warmpath_core::prompt::{Root, next_cell};

/// The end of a block's text, where the next one continues.
#[derive(Debug, Default)]
pub(super) struct End {
    pub(super) previous: Option<CellHash>,
    /// Text since the last cell.
    pub(super) pending: Vec<u8>,
    pub(super) before: Before,
    pub(super) depth: u16,
    pub(super) is_opaque: bool,
}

// === impl End ===

impl End {
    /// Before the first block of a prompt.
    pub(super) fn start(chains: &Chains<'_>, adapter: &str, salt: &str) -> Self {
        let root = Root::new(chains.pool, adapter, salt).written(chains.format);
        Self { previous: Some(root.start()), ..Self::default() }
    }

    /// Moves to the end of the next block. Returns what that block keeps, and how many of its hashes are cells.
    pub(super) fn advance(
        &mut self,
        tokens: &[u32],
        start: Option<CellHash>,
        chains: &Chains<'_>,
        counts: &mut Counts,
    ) -> (Box<[u8]>, u16) {
        let (mut kept, from) = (Vec::new(), self.pending.len());
        if !self.is_opaque {
            if let Ok(before) = chains.tokens.append(tokens, self.before, &mut self.pending) {
                self.before = before;
            } else {
                counts.unknown_tokens += 1;
                self.is_opaque = true;
            }
        }
        let whole = self.pending.len() / chains.cell_bytes.max(1);
        let depth = usize::from(self.depth) + whole;
        self.is_opaque |= depth > CELLS_PER_PROMPT_MAX;
        let Some(mut previous) = self.previous.filter(|_| !self.is_opaque) else {
            counts.opaque += 1;
            self.is_opaque = true;
            return (Box::default(), 0);
        };
        kept.extend(start.iter().flat_map(|start| start.0.to_le_bytes()));
        let mut cells = self.pending.chunks_exact(chains.cell_bytes);
        for cell in cells.by_ref() {
            previous = next_cell(previous, cell);
            kept.extend(previous.0.to_le_bytes());
        }
        let tail = if whole == 0 { self.pending.get(from..).unwrap_or_default() } else { cells.remainder() };
        kept.extend_from_slice(tail);
        self.pending.drain(..whole * chains.cell_bytes);
        self.previous = Some(previous);
        self.depth = u16::try_from(depth).unwrap_or(u16::MAX);
        (kept.into(), u16::try_from(whole).unwrap_or(u16::MAX))
    }
}

/// The salt that a block's keys name, and whether text alone does not determine the block. The adapter's name is in them, too.
pub(super) fn read_keys<'a>(keys: &'a [ExtraKey], adapter: Option<&str>, is_first: bool) -> (&'a str, bool) {
    let (mut salt, mut is_opaque) = ("", false);
    let mut adapter = adapter;
    for key in keys {
        match key {
            ExtraKey::Text(text) if adapter == Some(text) => adapter = None,
            ExtraKey::Text(text) if is_first && salt.is_empty() => salt = text,
            ExtraKey::Text(_) | ExtraKey::Other => is_opaque = true,
        }
    }
    (salt, is_opaque)
}
