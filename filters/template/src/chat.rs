//! A chat as its request gives it, and why it has no text.

use std::fmt;
use warmpath_json::JsonError;

/// The fields of a chat that reach its text, each as it is written in the body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chat<'a> {
    /// `messages`.
    pub messages: &'a [u8],
    /// `tools`, unless `null`.
    pub tools: Option<&'a [u8]>,
    /// `documents`, unless `null`.
    pub documents: Option<&'a [u8]>,
    /// `chat_template_kwargs`, unless `null`.
    pub arguments: Option<&'a [u8]>,
    /// `reasoning_effort`, unless `null`.
    pub reasoning_effort: Option<&'a [u8]>,
    /// `continue_final_message`: the last message is to be continued.
    pub is_continued: bool,
    /// `add_generation_prompt` is `false`: no response is opened.
    pub has_no_generation_prompt: bool,
}

/// Why a chat has no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwritten {
    /// A part that is not text: what the engine puts in its place is not known here.
    Media,
    /// The engine rejects the request, or would read it in some other way.
    Malformed,
    /// Nested too deep, or too many parts.
    TooLarge,
    /// A number that Python reads and a template here does not.
    Number,
    /// Arguments of the template that change its text in a way that is not known, or that the request says elsewhere.
    Arguments,
    /// A role, or a place of one, that the program does not know.
    Role,
    /// Messages in a row that the program does not know.
    Uncovered,
    /// Text that the template looks at, such as a tag.
    Guarded,
    /// The template rejects the request.
    Refused,
    /// The template needs the time, and it is not known.
    NoClock,
    /// The template takes too much work.
    TooCostly,
    /// The template fails: it uses something that is not known here, or a field that is missing.
    Failed,
}

// === impl Unwritten ===

impl Unwritten {
    /// All of them, for tables of metrics.
    pub const ALL: [Self; 12] = [
        Self::Media,
        Self::Malformed,
        Self::TooLarge,
        Self::Number,
        Self::Arguments,
        Self::Role,
        Self::Uncovered,
        Self::Guarded,
        Self::Refused,
        Self::NoClock,
        Self::TooCostly,
        Self::Failed,
    ];

    /// Its stable name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Media => "media",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Number => "number",
            Self::Arguments => "arguments",
            Self::Role => "role",
            Self::Uncovered => "uncovered",
            Self::Guarded => "guarded",
            Self::Refused => "refused",
            Self::NoClock => "no_clock",
            Self::TooCostly => "too_costly",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl std::error::Error for Unwritten {}

impl From<JsonError> for Unwritten {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::TooDeep => Self::TooLarge,
            JsonError::Truncated | JsonError::NotUtf8 | JsonError::Syntax | JsonError::Shape => {
                Self::Malformed
            }
        }
    }
}
