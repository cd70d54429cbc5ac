//! A request, independent of its protocol.

use super::{ApiError, MediaTokens};
use crate::text::Template;
use serde::Deserialize;
use serde_json::Value;

/// A request after parsing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParsedRequest {
    /// The model or adapter; `None` means the engine's own model.
    pub model: Option<String>,
    /// Separates caches of tenants; empty for none.
    pub cache_salt: String,
    /// Each gets one choice.
    pub prompts: Vec<Prompt>,
    /// Tokens to generate for each prompt, if the request limits them.
    pub output_tokens: Option<usize>,
    /// Whether to respond with server-sent events.
    pub stream: bool,
    /// The tool that the response has to call; `None`: it is text.
    pub tool: Option<String>,
    /// Whether the stream ends with the usage (OpenAI only; the other protocols always report it).
    pub include_usage: bool,
}

/// A prompt as the request has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// A text, of a chat the rendered one.
    Text(String),
    /// The tokens themselves.
    Tokens(Vec<u32>),
}

// === impl Prompt ===

impl Prompt {
    /// Its bytes, where a token is the four bytes of its id.
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Tokens(tokens) => tokens.iter().flat_map(|token| token.to_le_bytes()).collect(),
        }
    }
}

/// How an engine reads requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// How many tokens images and the like become.
    pub media: MediaTokens,
    /// How chats are rendered.
    pub template: Template,
}

/// The tool that a request insists on: `"required"` or `{"type": "any"}` is its first one, any other object the one that it
/// names. `"auto"` is text here.
pub(super) fn required_tool(choice: Option<&Value>, tools: &[Value]) -> Option<String> {
    let name = |of: &Value| {
        let name = of.get("name").or_else(|| of.get("function")?.get("name"));
        name.and_then(Value::as_str).map(str::to_owned)
    };
    match choice? {
        Value::String(word) if word == "required" => tools.first().and_then(name),
        Value::Object(choice) => match choice.get("type").and_then(Value::as_str) {
            Some("auto" | "none") => None,
            Some("any") => tools.first().and_then(name),
            _ => name(&Value::Object(choice.clone())),
        },
        _ => None,
    }
}

/// OpenAI's `stream_options`.
#[derive(Debug, Deserialize)]
pub(super) struct StreamOptions {
    #[serde(default)]
    pub(super) include_usage: bool,
}

/// Reads JSON, or returns the engine's error for invalid JSON.
pub(super) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(ApiError::BadJson)
}

/// Refuses several choices for one prompt: the simulation generates one.
pub(super) fn only_one(n: Option<u32>) -> Result<(), ApiError> {
    match n {
        None | Some(1) => Ok(()),
        Some(n) => Err(ApiError::Invalid(format!("n={n} is not simulated, only n=1"))),
    }
}
