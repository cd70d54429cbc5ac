//! A request, independent of its protocol.

use super::ApiError;
use serde::Deserialize;

/// A request after parsing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParsedRequest {
    /// The model or adapter; `None` means the engine's own model.
    pub model: Option<String>,
    /// Separates caches of tenants; empty for none.
    pub cache_salt: String,
    /// The bytes of each prompt; each gets one choice.
    pub prompts: Vec<Vec<u8>>,
    /// Tokens to generate for each prompt, if the request limits them.
    pub output_tokens: Option<usize>,
    /// Whether to respond with server-sent events.
    pub stream: bool,
    /// Whether the stream ends with the usage (OpenAI only; the other protocols always report it).
    pub include_usage: bool,
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
