//! `omitted_prefixes`, which the controller needs for its explanations.

use crate::reader::{Fields, Reader};
use warmpath_core::prompt::OMITTED_PREFIXES_DEFAULT;

/// How many there may be: each is compared with every block of a system prompt.
const PREFIXES_MAX: usize = 16;

/// Reads the field, or takes its default.
pub fn read(fields: &mut Fields<'_>, reader: &mut Reader) -> Vec<String> {
    let Some(entry) = fields.optional("omitted_prefixes") else {
        return OMITTED_PREFIXES_DEFAULT.map(str::to_owned).to_vec();
    };
    let entries = reader.list(&entry, "prefixes", PREFIXES_MAX);
    entries.iter().filter_map(|entry| reader.name(entry)).collect()
}
