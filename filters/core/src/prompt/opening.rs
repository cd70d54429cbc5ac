//! The opening of a conversation as one number: the text up to the end of its first user message, which every later turn
//! repeats.
//!
//! The first cell would not do, because all conversations with one system prompt share it.

use super::TextSink;
use xxhash_rust::xxh3::Xxh3;

/// What opens a message in the canonical text.
pub(super) const MESSAGE_START: &[u8] = b"<|im_start|>";

/// Bytes that identify a conversation in text without messages, such as a completion's.
const PLAIN_BYTES_MAX: usize = 1_024;
/// Most bytes that are read of text with messages.
const CHAT_BYTES_MAX: usize = 1 << 20;

/// Takes a prompt's canonical text until its opening has ended.
pub(super) struct Opening {
    hasher: Xxh3,
    left: usize,
    /// The next piece is a message's role.
    is_role_next: bool,
    has_user: bool,
}

// === impl Opening ===

impl Opening {
    /// Of text with messages, or without.
    pub(super) fn new(has_messages: bool) -> Self {
        let left = if has_messages { CHAT_BYTES_MAX } else { PLAIN_BYTES_MAX };
        Self { hasher: Xxh3::new(), left, is_role_next: false, has_user: false }
    }

    /// The number.
    pub(super) fn finish(&self) -> u64 {
        self.hasher.digest()
    }
}

impl TextSink for Opening {
    fn push(&mut self, piece: &[u8]) -> bool {
        let is_role = std::mem::replace(&mut self.is_role_next, piece == MESSAGE_START);
        if self.is_role_next && self.has_user {
            return false;
        }
        self.has_user |= is_role && piece == b"user";
        let piece = piece.get(..self.left).unwrap_or(piece);
        self.hasher.update(piece);
        self.left -= piece.len();
        self.left > 0
    }
}
