//! JSON as routing reads it: one pass over the bytes, borrowed strings, and a mere syntax check of everything that the
//! caller does not read.
//!
//! ```text
//!   bytes ─► Scanner ─┬─ KnownFields: an object's known fields in turn
//!                     ├─ lists, strings, numbers
//!                     └─ Raw: any value as it is written ─► unescape: a string's text in pieces
//! ```
//!
//! General parsers do too much for a body of megabytes in which routing needs six fields. `serde_json` scans a string
//! eight bytes at a time, then again for UTF-8 and again for escapes: half of the core's time for a long prompt. Parsers
//! with SIMD build a tape of all values (simd-json) or have no SIMD for wasm (sonic-rs).
//!
//! The scanner accepts what Python's `json.loads` accepts, because most engines read their bodies with it: a stricter
//! reader would lose the model of a request that its engine understands. That is JSON with `NaN`, `Infinity` and
//! `-Infinity`, halves of surrogate pairs, and repeated keys, of which the last one counts. Property tests compare it with
//! a naive reader.

mod edit;
mod encoding;
mod fields;
mod outline;
mod plain;
mod raw;
#[cfg(test)]
mod tests;
mod unescape;

pub use edit::{Change, Changes, Edits};
pub use encoding::as_utf8;
pub use fields::KnownFields;
pub use outline::{NAME_BYTES_MAX, Outline, Scalar};
pub use raw::Raw;
pub use unescape::unescape;

use plain::plain;
use std::borrow::Cow;

/// Objects and lists around a value, at most. Python stops at a thousand or at some tens of thousands, by its version.
const NESTING_MAX: usize = 1 << 16;

/// Why a value could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonError {
    /// The input ends early.
    Truncated,
    /// A string that the caller reads is not UTF-8.
    NotUtf8,
    /// The input is not JSON.
    Syntax,
    /// A value has another type than the caller expects.
    Shape,
    /// Objects and lists are nested too deep.
    TooDeep,
}

/// Reads values in turn.
#[derive(Debug)]
pub struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Whether nothing has been read yet of the object or list that was opened last.
    is_first: bool,
    /// Names of fields to look out for, besides those that are read.
    watched: &'static [&'static str],
    /// Whether an object whose known fields were read has one of them.
    has_watched: bool,
    /// Whether the bytes are known to be UTF-8.
    is_utf8: bool,
    /// The closing brackets of the objects and lists that are being skipped, the innermost last.
    nesting: Vec<u8>,
}

/// Properties of a skipped value.
#[derive(Clone, Copy, Debug, Default)]
struct Skipped {
    has_escape: bool,
    is_beyond_ascii: bool,
}

// === impl Scanner ===

impl<'a> Scanner<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            is_first: false,
            watched: &[],
            has_watched: false,
            is_utf8: false,
            nesting: Vec::new(),
        }
    }

    /// Looks out for fields of these names.
    #[must_use]
    pub fn watching(self, names: &'static [&'static str]) -> Self {
        Self { watched: names, ..self }
    }

    /// Whether there was one of the fields to look out for.
    pub fn has_watched(&self) -> bool {
        self.has_watched
    }

    /// The next byte that is not whitespace, without consuming it.
    pub fn peek(&mut self) -> Result<u8, JsonError> {
        while let Some(byte) = self.bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return Ok(*byte);
            }
            self.at += 1;
        }
        Err(JsonError::Truncated)
    }

    /// Checks that only whitespace follows.
    pub fn end(&mut self) -> Result<(), JsonError> {
        if self.peek().is_err() { Ok(()) } else { Err(JsonError::Syntax) }
    }

    /// Opens a list.
    pub fn open_list(&mut self) -> Result<(), JsonError> {
        self.open(b'[')
    }

    /// Advances to the next item of the innermost open list. `false` when the list has ended.
    pub fn has_item(&mut self) -> Result<bool, JsonError> {
        self.has_more(b']')
    }

    /// Opens an object whose fields are all read.
    pub fn open_object(&mut self) -> Result<(), JsonError> {
        self.open(b'{')
    }

    /// Advances to the next field of the innermost open object and returns its name; the caller must then read its value.
    /// `None` when the object has ended.
    pub fn next_key(&mut self) -> Result<Option<Cow<'a, str>>, JsonError> {
        if self.has_more(b'}')? { self.key().map(Some) } else { Ok(None) }
    }

    /// A string, decoded; `None` for `null`.
    pub fn string(&mut self) -> Result<Option<Cow<'a, str>>, JsonError> {
        match self.peek()? {
            b'"' => self.decoded().map(Some),
            b'n' => self.literal(b"null").map(|()| None),
            _ => self.misshapen(),
        }
    }

    /// A whole number from zero up; `None` for `null`.
    pub fn number(&mut self) -> Result<Option<u64>, JsonError> {
        let raw = self.raw()?;
        if raw.is_null() { Ok(None) } else { raw.parsed().map(Some).ok_or(JsonError::Shape) }
    }

    /// Any value as it is written; `None` for `null`.
    pub fn present(&mut self) -> Result<Option<Raw<'a>>, JsonError> {
        Ok(Some(self.raw()?).filter(|raw| !raw.is_null()))
    }

    /// Whether the next value is more than `null`, `""`, `[]` or `{}`. It is not consumed, and may be cut after its first
    /// bytes.
    pub fn is_filled(&mut self) -> Result<bool, JsonError> {
        let closer = match self.peek()? {
            b'n' => return Ok(false),
            b'"' => return self.bytes.get(self.at + 1).map(|byte| *byte != b'"').ok_or(JsonError::Truncated),
            b'[' => b']',
            b'{' => b'}',
            _ => return Ok(true),
        };
        let start = self.at;
        self.at += 1;
        let next = self.peek();
        self.at = start;
        Ok(next? != closer)
    }

    /// Any value as it is written.
    pub fn raw(&mut self) -> Result<Raw<'a>, JsonError> {
        self.peek()?;
        let start = self.at;
        let skipped = self.skip_value()?;
        let bytes = self.since(start);
        if skipped.is_beyond_ascii && !self.is_utf8 && !encoding::is_text(bytes) {
            return Err(JsonError::NotUtf8);
        }
        Ok(Raw { bytes, has_escape: skipped.has_escape })
    }

    /// Skips a value.
    pub fn skip(&mut self) -> Result<(), JsonError> {
        self.skip_value().map(|_| ())
    }

    /// A value as it is written and as `read` parses it, `None` where it has another shape.
    pub fn read_or_raw<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, JsonError>,
    ) -> Result<(Option<T>, Raw<'a>), JsonError> {
        self.peek()?;
        let start = self.at;
        let found = read(self).ok();
        if found.is_some() {
            // `has_escape` may be a false positive: callers that parsed the value do not use it.
            return Ok((found, Raw { bytes: self.since(start), has_escape: true }));
        }
        self.at = start;
        self.is_first = false;
        Ok((None, self.raw()?))
    }

    /// A value as `read` parses it and as it is written.
    pub fn read_with_raw<T, E: From<JsonError>>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<(T, Raw<'a>), E> {
        self.peek()?;
        let start = self.at;
        let found = read(self)?;
        Ok((found, Raw { bytes: self.since(start), has_escape: true }))
    }

    fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.at).unwrap_or_default()
    }

    fn open(&mut self, bracket: u8) -> Result<(), JsonError> {
        if self.peek()? != bracket {
            return self.misshapen();
        }
        self.at += 1;
        self.is_first = true;
        Ok(())
    }

    /// Whether the innermost open object or list has another entry; if not, its closing bracket is consumed.
    fn has_more(&mut self, closer: u8) -> Result<bool, JsonError> {
        let is_first = std::mem::replace(&mut self.is_first, false);
        match self.peek()? {
            byte if byte == closer => {
                self.at += 1;
                Ok(false)
            }
            b',' if !is_first => {
                self.at += 1;
                Ok(true)
            }
            _ if is_first => Ok(true),
            _ => Err(JsonError::Syntax),
        }
    }

    /// An object's key and the colon after it.
    fn key(&mut self) -> Result<Cow<'a, str>, JsonError> {
        if self.peek()? != b'"' {
            return Err(JsonError::Syntax);
        }
        let key = self.decoded()?;
        self.colon()?;
        Ok(key)
    }

    fn colon(&mut self) -> Result<(), JsonError> {
        if self.peek()? != b':' {
            return Err(JsonError::Syntax);
        }
        self.at += 1;
        Ok(())
    }

    fn decoded(&mut self) -> Result<Cow<'a, str>, JsonError> {
        let start = self.at + 1;
        let has_escape = self.skip_string()?.has_escape;
        let body = self.bytes.get(start..self.at - 1).unwrap_or_default();
        if has_escape {
            return unescape::name(body).map(Cow::Owned);
        }
        if let Ok(text) = std::str::from_utf8(body) {
            return Ok(Cow::Borrowed(text));
        }
        encoding::to_name(body).map(Cow::Owned).ok_or(JsonError::NotUtf8)
    }

    /// The error for a value of the wrong type, or for input that is not a value at all.
    #[cold]
    fn misshapen<T>(&mut self) -> Result<T, JsonError> {
        if !matches!(self.peek()?, b'{' | b'[') {
            self.skip_value()?;
        }
        Err(JsonError::Shape)
    }

    /// Skips a value. Nested objects and lists take one byte each and no stack.
    fn skip_value(&mut self) -> Result<Skipped, JsonError> {
        let mut all = Skipped::default();
        self.nesting.clear();
        loop {
            let byte = self.peek()?;
            match byte {
                b'{' | b'[' => {
                    self.at += 1;
                    let closer = if byte == b'{' { b'}' } else { b']' };
                    if self.peek()? == closer {
                        self.at += 1;
                    } else if self.nesting.len() >= NESTING_MAX {
                        return Err(JsonError::TooDeep);
                    } else {
                        self.nesting.push(closer);
                        if byte == b'{' {
                            self.skip_key(&mut all)?;
                        }
                        continue;
                    }
                }
                b'"' => all.add(self.skip_string()?),
                b'-' | b'0'..=b'9' => self.skip_number()?,
                b't' => self.literal(b"true")?,
                b'f' => self.literal(b"false")?,
                b'n' => self.literal(b"null")?,
                b'N' => self.literal(b"NaN")?,
                b'I' => self.literal(b"Infinity")?,
                _ => return Err(JsonError::Syntax),
            }
            loop {
                let Some(closer) = self.nesting.last().copied() else { return Ok(all) };
                match self.peek()? {
                    b',' => {
                        self.at += 1;
                        if closer == b'}' {
                            self.skip_key(&mut all)?;
                        }
                        break;
                    }
                    byte if byte == closer => {
                        self.at += 1;
                        self.nesting.pop();
                    }
                    _ => return Err(JsonError::Syntax),
                }
            }
        }
    }

    fn skip_key(&mut self, all: &mut Skipped) -> Result<(), JsonError> {
        if self.peek()? != b'"' {
            return Err(JsonError::Syntax);
        }
        all.add(self.skip_string()?);
        self.colon()
    }

    fn skip_string(&mut self) -> Result<Skipped, JsonError> {
        let mut skipped = Skipped::default();
        self.at += 1;
        loop {
            let found = plain(self.bytes.get(self.at..).unwrap_or_default());
            self.at += found.length;
            skipped.is_beyond_ascii |= !found.is_ascii;
            match self.bytes.get(self.at) {
                None => return Err(JsonError::Truncated),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(skipped);
                }
                Some(b'\\') => {
                    skipped.has_escape = true;
                    self.skip_escape()?;
                }
                Some(_) => return Err(JsonError::Syntax),
            }
        }
    }

    fn skip_escape(&mut self) -> Result<(), JsonError> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let digits = self.bytes.get(self.at + 2..self.at + 6).ok_or(JsonError::Truncated)?;
                self.at += 6;
                if digits.iter().all(u8::is_ascii_hexdigit) { Ok(()) } else { Err(JsonError::Syntax) }
            }
            Some(_) => Err(JsonError::Syntax),
            None => Err(JsonError::Truncated),
        }
    }

    fn skip_number(&mut self) -> Result<(), JsonError> {
        if self.bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
            if self.bytes.get(self.at) == Some(&b'I') {
                return self.literal(b"Infinity");
            }
        }
        let is_zero = self.bytes.get(self.at) == Some(&b'0');
        let before = self.at;
        self.skip_digits()?;
        if is_zero && self.at > before + 1 {
            return Err(JsonError::Syntax);
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.skip_digits()?;
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.skip_digits()?;
        }
        Ok(())
    }

    /// Skips one digit or more.
    fn skip_digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        match self.bytes.get(self.at) {
            _ if self.at > start => Ok(()),
            Some(_) => Err(JsonError::Syntax),
            None => Err(JsonError::Truncated),
        }
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), JsonError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if rest.starts_with(word) {
            self.at += word.len();
            Ok(())
        } else if word.starts_with(rest) {
            Err(JsonError::Truncated)
        } else {
            Err(JsonError::Syntax)
        }
    }
}

// === impl Skipped ===

impl Skipped {
    fn add(&mut self, other: Self) {
        self.has_escape |= other.has_escape;
        self.is_beyond_ascii |= other.is_beyond_ascii;
    }
}
