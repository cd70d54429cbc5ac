//! A value as it is written in the body, whitespace and escapes included; its syntax has been checked.

use super::Scanner;
use std::str::FromStr;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) has_escape: bool,
}

/// What counts as true, as a string or as a number.
const TRUE: [&[u8]; 7] = [b"true", b"1", b"1.0", b"yes", b"on", b"y", b"t"];

// === impl Raw ===

impl<'a> Raw<'a> {
    /// Its bytes, without whitespace around them.
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        self.bytes == b"null"
    }

    /// Whether it is a list.
    pub fn is_list(self) -> bool {
        self.bytes.starts_with(b"[")
    }

    /// The bytes between the quotes of a string; `None` for any other value.
    pub fn string_body(self) -> Option<&'a [u8]> {
        self.bytes.strip_prefix(b"\"")?.strip_suffix(b"\"")
    }

    /// Whether a string may contain an escape.
    pub fn has_escape(self) -> bool {
        self.has_escape
    }

    /// The value, of a type that Rust and JSON write alike: `true`, `false`, whole numbers. `None` for any other value.
    pub fn parsed<T: FromStr>(self) -> Option<T> {
        std::str::from_utf8(self.bytes).ok()?.parse().ok()
    }

    /// Whether it is true as engines read their settings, which is leniently: `1`, `"yes"`.
    ///
    /// Source: pydantic's conversion table; vLLM, SGLang and TensorRT-LLM have models without `strict`.
    pub fn is_true(self) -> bool {
        let word = self.string_body().unwrap_or(self.bytes);
        TRUE.iter().any(|known| word.eq_ignore_ascii_case(known))
    }

    /// A scanner that reads it again.
    pub fn scanner(self) -> Scanner<'a> {
        Scanner { is_utf8: true, ..Scanner::new(self.bytes) }
    }
}
