//! The fields of an object whose names are known. The others are skipped.

use super::{JsonError, Scanner};

/// Iterates over the known fields of the object that a scanner has reached. A field that occurs twice is returned twice:
/// the last one counts, as for the engines' parsers, so callers assign and never add.
#[derive(Debug)]
pub struct KnownFields {
    names: &'static [&'static str],
}

// === impl KnownFields ===

impl KnownFields {
    /// Opens the object.
    pub fn open(scanner: &mut Scanner<'_>, names: &'static [&'static str]) -> Result<Self, JsonError> {
        scanner.open(b'{')?;
        Ok(Self { names })
    }

    /// Advances to the next known field and returns its name; the caller must then read its value. `None` when the
    /// object has ended.
    pub fn next(&mut self, scanner: &mut Scanner<'_>) -> Result<Option<&'static str>, JsonError> {
        while scanner.has_more(b'}')? {
            let key = scanner.key()?;
            if let Some(name) = self.names.iter().find(|name| **name == key) {
                return Ok(Some(name));
            }
            scanner.has_watched |= scanner.watched.iter().any(|name| **name == key);
            scanner.skip()?;
        }
        Ok(None)
    }
}
