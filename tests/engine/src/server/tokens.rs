//! Requests for tokens instead of generated text, as vLLM serves them: `/tokenize`, the two `render` paths, and
//! Anthropic's `count_tokens`. Routers without a tokenizer call them before they choose.

use super::{
    engine_server::App,
    reply::{Body, json as reply_json},
};
use crate::{
    api::{ApiError, Protocol},
    model::tokens_of_bytes,
    text::token_ids,
};
use bytes::Bytes;
use http::{Response, StatusCode};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::json;

/// The field that distinguishes a chat from a completion.
#[derive(Deserialize)]
struct Shape {
    messages: Option<IgnoredAny>,
}

/// `/v1/messages/count_tokens`: the length of the prompt.
pub(super) fn count(app: &App, body: &Bytes) -> Result<Response<Body>, ApiError> {
    let parsed = Protocol::Messages.parse_with(body, app.config.media)?;
    let tokens: usize = parsed.prompts.iter().map(|prompt| tokens_of_bytes(prompt.len())).sum();
    Ok(reply_json(StatusCode::OK, &json!({"input_tokens": tokens})))
}

/// `/tokenize`: the tokens of a completion's prompt or of a chat.
pub(super) fn tokenize(app: &App, body: &Bytes) -> Result<Response<Body>, ApiError> {
    let shape: Shape = serde_json::from_slice(body).map_err(ApiError::BadJson)?;
    let protocol = if shape.messages.is_some() { Protocol::Chat } else { Protocol::Completions };
    let tokens: Vec<u32> = protocol
        .parse_with(body, app.config.media)?
        .prompts
        .iter()
        .flat_map(|prompt| token_ids(prompt))
        .collect();
    let max_model_len = app.hub.params.blocks() * app.hub.params.block_tokens;
    let body = json!({
        "count": tokens.len(), "max_model_len": max_model_len, "tokens": tokens, "token_strs": null,
    });
    Ok(reply_json(StatusCode::OK, &body))
}

/// `/v1/chat/completions/render` and `/v1/completions/render`: the request as the engine would run it. An object
/// for a chat, a list with one for each prompt for completions.
pub(super) fn render(app: &App, protocol: Protocol, body: &Bytes) -> Result<Response<Body>, ApiError> {
    let parsed = protocol.parse_with(body, app.config.media)?;
    let mut rendered: Vec<_> =
        parsed.prompts.iter().map(|prompt| json!({"token_ids": token_ids(prompt)})).collect();
    let body = if protocol == Protocol::Chat { rendered.pop().unwrap_or_default() } else { json!(rendered) };
    Ok(reply_json(StatusCode::OK, &body))
}
