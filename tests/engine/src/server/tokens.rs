//! Requests for tokens instead of generated text, as vLLM serves them: `/tokenize`, the two `render` paths, and
//! Anthropic's `count_tokens`. Routers without a tokenizer call them before they choose.

use super::{
    engine_server::App,
    reply::{Body, json as reply_json},
};
use crate::{
    api::{ApiError, Prompt, Protocol},
    text::{Cut, Tokenized},
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

/// The body of `/detokenize`.
#[derive(Deserialize)]
struct Ids {
    tokens: Vec<u32>,
}

/// `/detokenize`: the text of tokens.
pub(super) fn detokenize(app: &App, body: &Bytes) -> Result<Response<Body>, ApiError> {
    let Ids { tokens } = serde_json::from_slice(body).map_err(ApiError::BadJson)?;
    let text = match &app.cut {
        Cut::Model(vocabulary) => vocabulary.text(&tokens),
        Cut::FourBytes => String::from_utf8_lossy(&Prompt::Tokens(tokens).into_bytes()).into_owned(),
    };
    Ok(reply_json(StatusCode::OK, &json!({"prompt": text})))
}

fn prompts(app: &App, protocol: Protocol, body: &Bytes) -> Result<Vec<Tokenized>, ApiError> {
    let parsed = protocol.parse_with(body, app.reading())?;
    Ok(parsed.prompts.into_iter().map(|prompt| app.cut.tokens(prompt)).collect())
}

/// `/v1/messages/count_tokens`: the length of the prompt.
pub(super) fn count(app: &App, body: &Bytes) -> Result<Response<Body>, ApiError> {
    let tokens: usize = prompts(app, Protocol::Messages, body)?.iter().map(Tokenized::count).sum();
    Ok(reply_json(StatusCode::OK, &json!({"input_tokens": tokens})))
}

/// `/tokenize`: the tokens of a completion's prompt or of a chat.
pub(super) fn tokenize(app: &App, body: &Bytes) -> Result<Response<Body>, ApiError> {
    let shape: Shape = serde_json::from_slice(body).map_err(ApiError::BadJson)?;
    let protocol = if shape.messages.is_some() { Protocol::Chat } else { Protocol::Completions };
    let tokens: Vec<u32> = prompts(app, protocol, body)?.iter().flat_map(Tokenized::ids).collect();
    let max_model_len = app.hub.params.blocks() * app.hub.params.block_tokens;
    let body = json!({
        "count": tokens.len(), "max_model_len": max_model_len, "tokens": tokens, "token_strs": null,
    });
    Ok(reply_json(StatusCode::OK, &body))
}

/// `/v1/chat/completions/render` and `/v1/completions/render`: the request as the engine would run it. An object
/// for a chat, a list with one for each prompt for completions.
pub(super) fn render(app: &App, protocol: Protocol, body: &Bytes) -> Result<Response<Body>, ApiError> {
    let prompts = prompts(app, protocol, body)?;
    let mut rendered: Vec<_> = prompts.iter().map(|prompt| json!({"token_ids": prompt.ids()})).collect();
    let body = if protocol == Protocol::Chat { rendered.pop().unwrap_or_default() } else { json!(rendered) };
    Ok(reply_json(StatusCode::OK, &body))
}
