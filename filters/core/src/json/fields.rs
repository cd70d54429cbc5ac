//! The fields of an object whose names are known. The others are skipped.

use super::{JsonError, Scanner};

/// Iterates over the known fields of the object that a scanner has reached. A known field that occurs twice is an
/// error: engines differ in which of the two they use.
#[derive(Debug)]
pub(crate) struct KnownFields {
    /// At most 32.
    names: &'static [&'static str],
    /// One bit for each name that has occurred.
    seen: u32,
}

// === impl KnownFields ===

impl KnownFields {
    /// Opens the object.
    pub(crate) fn open(scanner: &mut Scanner<'_>, names: &'static [&'static str]) -> Result<Self, JsonError> {
        scanner.open(b'{')?;
        Ok(Self { names, seen: 0 })
    }

    /// Advances to the next known field and returns its name; the caller must then read its value. `None` when the
    /// object has ended.
    pub(crate) fn next(&mut self, scanner: &mut Scanner<'_>) -> Result<Option<&'static str>, JsonError> {
        while scanner.has_more(b'}')? {
            let key = scanner.key()?;
            if let Some((bit, name)) = (0_u32..).zip(self.names).find(|(_, name)| **name == key) {
                let mask = 1 << bit;
                if self.seen & mask != 0 {
                    return Err(JsonError::Shape);
                }
                self.seen |= mask;
                return Ok(Some(name));
            }
            scanner.skip()?;
        }
        Ok(None)
    }
}
