//! What a request asks for, whatever protocol it came in.

use serde::Deserialize;

use super::ApiError;

/// A request after parsing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ask {
    /// The model or adapter; `None` means the engine's own model.
    pub model: Option<String>,
    /// Separates caches of tenants; empty for none.
    pub cache_salt: String,
    /// The bytes of each prompt; one answer each.
    pub prompts: Vec<Vec<u8>>,
    /// Tokens to generate for each prompt, if the request says so.
    pub output_tokens: Option<usize>,
    /// Whether to answer with server-sent events.
    pub stream: bool,
    /// Whether the stream ends with the usage (OpenAI only; the others always tell it).
    pub include_usage: bool,
}

/// OpenAI's `stream_options`.
#[derive(Debug, Deserialize)]
pub(super) struct StreamOptions {
    #[serde(default)]
    pub(super) include_usage: bool,
}

/// Reads JSON, with the engine's error for what is none.
pub(super) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(ApiError::BadJson)
}

/// Refuses several answers to one prompt: the simulation makes one.
pub(super) fn only_one(n: Option<u32>) -> Result<(), ApiError> {
    match n {
        None | Some(1) => Ok(()),
        Some(n) => Err(ApiError::Invalid(format!("n={n} is not simulated, only n=1"))),
    }
}
