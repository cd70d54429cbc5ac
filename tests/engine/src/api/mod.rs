//! The protocols: bodies are parsed into a [`ParsedRequest`]; a [`ModelOutput`] is encoded into bodies and events.
//!
//! ```text
//!  body ─► completions | chat | responses | messages ─► ParsedRequest ─► (engine) ─► ModelOutput ─► the same file ─► JSON, SSE
//! ```
//!
//! Each protocol has one file with both directions. Nothing here knows sockets or time.

mod chat;
mod completions;
mod content;
mod error;
mod messages;
mod output;
mod request;
mod responses;

pub use content::MediaTokens;
pub use error::ApiError;
pub use output::{Choice, Delta, ModelOutput, Wire};
pub use request::{ParsedRequest, Prompt, Reading};

/// The protocols that the engine serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

// === impl Protocol ===

impl Protocol {
    /// Reads a request body as an engine without settings does.
    pub fn parse(self, body: &[u8]) -> Result<ParsedRequest, ApiError> {
        self.parse_with(body, Reading::default())
    }

    /// Reads a request body.
    pub fn parse_with(self, body: &[u8], reading: Reading) -> Result<ParsedRequest, ApiError> {
        match self {
            Self::Completions => completions::parse(body),
            Self::Chat => chat::parse(body, reading),
            Self::Responses => responses::parse(body, reading),
            Self::Messages => messages::parse(body, reading),
        }
    }

    /// The encoding of this protocol's responses.
    pub fn wire(self) -> &'static dyn Wire {
        match self {
            Self::Completions => &completions::Completions,
            Self::Chat => &chat::Chat,
            Self::Responses => &responses::Responses,
            Self::Messages => &messages::Messages,
        }
    }
}
