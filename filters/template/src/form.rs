//! How a field's text stands in the text of a chat: as it is, without space around it, as JSON.

use crate::dump::{Layout, dump};
use std::borrow::Cow;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Not at all.
    Dropped,
    /// As it is.
    AsIs,
    /// Without space around it, before it, or after it.
    Trim,
    /// See [`Form::Trim`].
    TrimStart,
    /// See [`Form::Trim`].
    TrimEnd,
    /// Without newlines around it, or before it.
    TrimLines,
    /// See [`Form::TrimLines`].
    TrimStartLines,
    /// A JSON string.
    Quoted,
    /// JSON as Python writes it by default.
    Json,
    /// JSON without space.
    Compact,
    /// JSON in lines, by two or four spaces a level.
    Indented2,
    /// See [`Form::Indented2`].
    Indented4,
}

impl Form {
    /// All, in the order of their numbers on the wire.
    pub const ALL: [Self; 12] = [
        Self::Dropped,
        Self::AsIs,
        Self::Trim,
        Self::TrimStart,
        Self::TrimEnd,
        Self::TrimLines,
        Self::TrimStartLines,
        Self::Quoted,
        Self::Json,
        Self::Compact,
        Self::Indented2,
        Self::Indented4,
    ];

    /// By its number.
    pub fn of(number: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// Its number.
    pub fn number(self) -> u32 {
        let at = Self::ALL.iter().position(|form| *form == self);
        at.and_then(|at| u32::try_from(at).ok()).unwrap_or_default()
    }

    /// Whether it writes JSON values.
    pub fn layout(self) -> Option<Layout> {
        match self {
            Self::Json => Some(Layout::Spaced),
            Self::Compact => Some(Layout::Compact),
            Self::Indented2 => Some(Layout::Indented(2)),
            Self::Indented4 => Some(Layout::Indented(4)),
            _ => None,
        }
    }

    /// Text in this form. Only for forms of text.
    pub fn text(self, text: &str) -> Cow<'_, str> {
        let is_line = |character: char| character == '\n';
        Cow::Borrowed(match self {
            Self::Dropped => "",
            Self::Trim => text.trim_matches(is_space),
            Self::TrimStart => text.trim_start_matches(is_space),
            Self::TrimEnd => text.trim_end_matches(is_space),
            Self::TrimLines => text.trim_matches(is_line),
            Self::TrimStartLines => text.trim_start_matches(is_line),
            Self::Quoted => {
                let mut quoted = String::with_capacity(text.len() + 2);
                crate::dump::quote(text, &mut quoted);
                return Cow::Owned(quoted);
            }
            Self::AsIs | Self::Json | Self::Compact | Self::Indented2 | Self::Indented4 => text,
        })
    }

    /// A JSON value in this form.
    pub fn json(self, raw: &[u8]) -> Option<String> {
        dump(raw, self.layout()?)
    }
}

/// Whether Python's `str.strip` removes a character.
pub fn is_space(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\x1c'..='\x1f')
}
