//! An object's fields, as far as their names are known. The others are passed over.

use super::{JsonError, Scanner};

/// Walks over the object that a scanner stands at. A known field that stands there twice is an error: which of the two
/// an engine takes is not ours to guess.
#[derive(Debug)]
pub(crate) struct Fields {
    /// At most 32.
    names: &'static [&'static str],
    /// A bit for each name that was seen.
    seen: u32,
}

// === impl Fields ===

impl Fields {
    /// Opens the object.
    pub(crate) fn open(scanner: &mut Scanner<'_>, names: &'static [&'static str]) -> Result<Self, JsonError> {
        scanner.open(b'{')?;
        Ok(Self { names, seen: 0 })
    }

    /// Goes to the next known field's value, which has to be read then, and tells its name. `None`: there is none,
    /// and the object is closed.
    pub(crate) fn next(&mut self, scanner: &mut Scanner<'_>) -> Result<Option<&'static str>, JsonError> {
        while scanner.goes_on(b'}')? {
            let key = scanner.key()?;
            if let Some((bit, name)) = (0_u32..).zip(self.names).find(|(_, name)| **name == key) {
                let mask = 1 << bit;
                if self.seen & mask != 0 {
                    return Err(JsonError::Shape);
                }
                self.seen |= mask;
                return Ok(Some(name));
            }
            scanner.pass()?;
        }
        Ok(None)
    }
}
