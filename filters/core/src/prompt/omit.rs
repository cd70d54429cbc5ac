//! Text of a system prompt that engines cut out before they compute anything.
//!
//! Coding agents begin their system prompt with a line for the vendor's billing, which differs in every request. Engines
//! cut it out, or nothing would ever be found in their caches. A router that hashed it would find nothing either: every
//! cell includes all text before it.
//!
//! vLLM drops each text block of `/v1/messages` that begins so, and the first line of a system prompt that is one string.
//! Gateways that translate agents' requests to `/v1/chat/completions` keep the line; there, too, only the line goes.

use super::TextSink;
use crate::json::Raw;

/// What such text begins with, unless configured otherwise.
pub const OMITTED_PREFIXES_DEFAULT: [&str; 1] = ["x-anthropic-billing-header"];

/// The prefixes of text that is cut out.
#[derive(Clone, Copy, Debug)]
pub(super) enum Omitted<'a> {
    /// [`OMITTED_PREFIXES_DEFAULT`].
    Default,
    These(&'a [String]),
}

/// Compares text with the beginning that it should have.
struct Beginning<'a> {
    missing: &'a [u8],
    differs: bool,
}

/// Passes on what follows the first line.
pub(super) struct AfterLine<'a, S> {
    sink: &'a mut S,
    has_ended: bool,
}

// === impl Omitted ===

impl Omitted<'_> {
    /// Whether a string begins with one of the prefixes.
    pub(super) fn matches(self, value: Raw<'_>) -> bool {
        match self {
            Self::Default => OMITTED_PREFIXES_DEFAULT.iter().any(|prefix| begins(value, prefix)),
            Self::These(prefixes) => prefixes.iter().any(|prefix| begins(value, prefix)),
        }
    }
}

fn begins(value: Raw<'_>, prefix: &str) -> bool {
    if value.string_body().is_none() {
        return false;
    }
    let mut beginning = Beginning { missing: prefix.as_bytes(), differs: false };
    super::text::string_or_raw(value, &mut beginning);
    beginning.missing.is_empty() && !beginning.differs
}

// === impl Beginning ===

impl TextSink for Beginning<'_> {
    fn push(&mut self, piece: &[u8]) -> bool {
        let (here, rest) = self.missing.split_at(self.missing.len().min(piece.len()));
        self.differs |= !piece.starts_with(here);
        self.missing = rest;
        !self.differs && !rest.is_empty()
    }
}

// === impl AfterLine ===

impl<'a, S: TextSink> AfterLine<'a, S> {
    pub(super) fn new(sink: &'a mut S) -> Self {
        Self { sink, has_ended: false }
    }
}

impl<S: TextSink> TextSink for AfterLine<'_, S> {
    fn push(&mut self, piece: &[u8]) -> bool {
        if self.has_ended {
            return self.sink.push(piece);
        }
        let Some(at) = memchr::memchr(b'\n', piece) else { return true };
        self.has_ended = true;
        self.sink.push(piece.get(at + 1..).unwrap_or_default())
    }
}
