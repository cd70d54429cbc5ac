//! A chat with its messages and tools as templates know them, whatever the format of its request.
//!
//! ```text
//!   /v1/chat/completions ─► Chat ──────┐
//!   /v1/messages ─► MessagesBody ──────┼─► Given ─► slots ─► text
//!   /v1/responses ─► ResponsesBody ────┘
//! ```
//!
//! The other formats could be written as the JSON of a chat and read again, which would copy every text of a long prompt twice.

use crate::messages::{Message, messages};
use crate::tools::{Tool, tools};
use crate::{Chat, Unwritten};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Given<'a> {
    pub(crate) messages: Vec<Message<'a>>,
    pub(crate) tools: Vec<Tool<'a>>,
    pub(crate) arguments: Option<&'a [u8]>,
    pub(crate) reasoning_effort: Option<&'a [u8]>,
    pub(crate) is_continued: bool,
    pub(crate) has_no_generation_prompt: bool,
    /// Calls reach the template with the name before the arguments. It is the other way round in a chat, which shows where a
    /// template writes a call as JSON.
    pub(crate) has_names_first: bool,
}

impl<'a> Given<'a> {
    /// Of a chat.
    pub fn of(chat: &Chat<'a>) -> Result<Self, Unwritten> {
        if chat.documents.is_some() {
            return Err(Unwritten::Arguments);
        }
        Ok(Self {
            messages: messages(chat.messages)?,
            tools: chat.tools.map(tools).transpose()?.unwrap_or_default(),
            arguments: chat.arguments,
            reasoning_effort: chat.reasoning_effort,
            is_continued: chat.is_continued,
            has_no_generation_prompt: chat.has_no_generation_prompt,
            has_names_first: false,
        })
    }
}
