//! The protocols: request bodies become an [`Ask`], an [`Answer`] becomes bodies and events.
//!
//! ```text
//!  body ─► completions | chat | responses | messages ─► Ask ─► (engine) ─► Answer ─► the same file ─► JSON, SSE
//! ```
//!
//! Each protocol has one file with both directions. Nothing here knows sockets or time.

mod answer;
mod ask;
mod chat;
mod completions;
mod content;
mod error;
mod messages;
mod responses;

pub use answer::{Answer, Choice, Delta, Wire};
pub use ask::Ask;
pub use error::ApiError;

/// The protocols in which an answer can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// OpenAI text completions: `/v1/completions`.
    Completions,
    /// OpenAI chat: `/v1/chat/completions`.
    Chat,
    /// OpenAI responses: `/v1/responses`.
    Responses,
    /// Anthropic messages: `/v1/messages`.
    Messages,
}

impl Protocol {
    /// Reads a request body.
    pub fn parse(self, body: &[u8]) -> Result<Ask, ApiError> {
        match self {
            Self::Completions => completions::parse(body),
            Self::Chat => chat::parse(body),
            Self::Responses => responses::parse(body),
            Self::Messages => messages::parse(body),
        }
    }

    /// How this protocol tells an answer.
    pub fn wire(self) -> &'static dyn Wire {
        match self {
            Self::Completions => &completions::Completions,
            Self::Chat => &chat::Chat,
            Self::Responses => &responses::Responses,
            Self::Messages => &messages::Messages,
        }
    }
}
