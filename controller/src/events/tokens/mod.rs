//! Tokens -> bytes of text, by a table that is made once of a model's `tokenizer.json`.
//!
//! ```text
//!   tokenizer.json ─► file ─► vocabulary ─► TokenText ─┐
//!                                                      ├─► bytes ─► blocks
//!   tokens of a block ─────────────────────────────────┘
//! ```
//!
//! A tokenizer's own decoder makes a string of all tokens of a prompt, and what is no UTF-8 it replaces. A block ends at any token,
//! which may be in the middle of a character, so the table keeps bytes and joins them.
//!
//! Tokens do not determine a text where the tokenizer changes it first. SentencePiece puts a space before what a prompt begins with,
//! which is taken away again here; the text that a prompt's proxy hashes has none. A prompt that begins with a space of its own may
//! have the same tokens, and matches nothing.

mod file;
mod vocabulary;

pub use file::{TOKENIZER_BYTES_MAX, Tokenizer, TokenizerError};

use warmpath_core::num::{index, u32_len};

/// The text of each token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenText {
    bytes: Vec<u8>,
    /// Where the text of each token ends.
    ends: Vec<u32>,
    /// Which are added to the model's vocabulary: special tokens, among others. One bit each.
    added: Vec<u64>,
    space: Space,
}

/// Where a tokenizer puts a space of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Space {
    /// Nowhere.
    #[default]
    Never,
    /// Before a prompt, unless it begins with an added token.
    First,
    /// Before a prompt, and after each added token.
    Each,
}

/// What stands before a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Before {
    /// Nothing: the prompt begins with it.
    #[default]
    Nothing,
    /// An added token.
    Added,
    /// Any other.
    Text,
}

/// A token that the vocabulary does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownToken(pub u32);

// === impl TokenText ===

impl TokenText {
    fn new(space: Space) -> Self {
        Self { bytes: Vec::new(), ends: Vec::new(), added: Vec::new(), space }
    }

    /// Gives the next token its text; it gets none where there is no such token.
    fn push(&mut self, text: Option<&[u8]>, is_added: bool) {
        let token = self.ends.len();
        self.bytes.extend_from_slice(text.unwrap_or_default());
        self.ends.push(u32_len(self.bytes.len()));
        self.added.resize(token / 64 + 1, 0);
        if is_added && let Some(bits) = self.added.last_mut() {
            *bits |= 1 << (token % 64);
        }
    }

    /// Tokens of the vocabulary.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The text of a token by itself; empty where it has none, none where there is no such token.
    pub fn of(&self, token: u32) -> Option<&[u8]> {
        let at = index(token);
        let end = *self.ends.get(at)?;
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.bytes.get(index(start)..index(end))
    }

    /// Adds the text of tokens that stand behind `before`. Returns what stands before the token behind them. If one of them is
    /// unknown, `text` has that of the tokens before it.
    pub fn append(
        &self,
        tokens: &[u32],
        mut before: Before,
        text: &mut Vec<u8>,
    ) -> Result<Before, UnknownToken> {
        for token in tokens {
            // A token without text is a hole in the vocabulary.
            let piece = self.of(*token).filter(|piece| !piece.is_empty()).ok_or(UnknownToken(*token))?;
            let is_added = self.is_added(*token);
            let has_space = !is_added && self.space.is_behind(before);
            text.extend_from_slice(match piece {
                [b' ', rest @ ..] if has_space => rest,
                _ => piece,
            });
            before = if is_added { Before::Added } else { Before::Text };
        }
        Ok(before)
    }

    fn is_added(&self, token: u32) -> bool {
        self.added.get(index(token) / 64).is_some_and(|bits| bits >> (token % 64) & 1 == 1)
    }
}

// === impl Space ===

impl Space {
    fn is_behind(self, before: Before) -> bool {
        match before {
            Before::Nothing => self != Self::Never,
            Before::Added => self == Self::Each,
            Before::Text => false,
        }
    }
}

// === impl Before ===

impl Before {
    pub(super) fn to_bits(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Added => 1,
            Self::Text => 2,
        }
    }

    pub(super) fn of_bits(bits: u8) -> Self {
        match bits {
            0 => Self::Nothing,
            1 => Self::Added,
            _ => Self::Text,
        }
    }
}
