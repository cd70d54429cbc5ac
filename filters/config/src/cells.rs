//! `cell_bytes`, which the controller and all proxies must give alike.

use crate::reader::{Fields, Reader};
use warmpath_core::limits::{CELL_BYTES_DEFAULT, CELL_BYTES_MAX, CELL_BYTES_MIN};
use warmpath_core::num::u64_len;

/// Reads the field, or takes its default.
pub fn read(fields: &mut Fields<'_>, reader: &mut Reader) -> usize {
    let bounds = u64_len(CELL_BYTES_MIN)..=u64_len(CELL_BYTES_MAX);
    let bytes = fields.optional("cell_bytes").and_then(|entry| reader.number(&entry, bounds));
    bytes.unwrap_or(CELL_BYTES_DEFAULT)
}
