//! An inference request from its body to its answer.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use super::{
    engine_server::App,
    flight::Ticket,
    reply::{Body, CACHED_TOKENS, PROMPT_TOKENS, json as reply_json, with_body},
    route::unix_s,
    stream::EventStream,
};
use crate::{
    api::{Answer, ApiError, Ask, Choice, Protocol},
    model::{Request, RequestId, Root, chain_of_bytes, tokens_of_bytes},
    text::Filler,
};

/// Answers a request in one of the four protocols.
pub(super) async fn infer(
    app: &Arc<App>,
    protocol: Protocol,
    request_id: Option<String>,
    body: &Bytes,
) -> Result<Response<Body>, ApiError> {
    let ask = protocol.parse(body)?;
    let stream = ask.stream;
    let (mut answer, requests) = plan(app, protocol, request_id, ask)?;
    let tokens_per_chunk = app.config.tokens_per_chunk;
    let ticket = app.hub.submit(requests, if stream { tokens_per_chunk } else { usize::MAX })?;
    // The head of a stream goes out with its first token: before, nothing is known of the cache.
    let tokens: Vec<_> =
        answer.choices.iter().map(|choice| if stream { 1 } else { choice.output_tokens }).collect();
    ticket.flight.reached(|slot| tokens[slot]).await;
    for (slot, choice) in answer.choices.iter_mut().enumerate() {
        choice.cached_tokens = ticket.flight.cached_tokens(slot);
    }
    let (cached, prompt) = (answer.cached_tokens(), answer.prompt_tokens());
    let mut response = if stream {
        streamed(app, protocol, ticket, answer)
    } else {
        reply_json(StatusCode::OK, &protocol.wire().whole(&answer))
    };
    response.headers_mut().insert(CACHED_TOKENS, HeaderValue::from(cached));
    response.headers_mut().insert(PROMPT_TOKENS, HeaderValue::from(prompt));
    Ok(response)
}

fn streamed(app: &App, protocol: Protocol, ticket: Ticket, answer: Answer) -> Response<Body> {
    let mut events = EventStream::new(ticket, answer, protocol.wire(), app.config.tokens_per_chunk);
    events.cut_after = app.faults.take_cut();
    if events.cut_after.is_some() {
        app.count_fault();
    }
    with_body(StatusCode::OK, "text/event-stream; charset=utf-8", events.into_body())
}

/// Works out the whole answer in advance; what the model adds is when, and how much the cache held.
fn plan(
    app: &App,
    protocol: Protocol,
    request_id: Option<String>,
    ask: Ask,
) -> Result<(Answer, Vec<Request>), ApiError> {
    let config = &app.config;
    let model = ask.model.unwrap_or_else(|| config.model.clone());
    let adapter = if model == config.model { "" } else { &model };
    if !adapter.is_empty() && !config.adapters.iter().any(|known| known == adapter) {
        return Err(ApiError::UnknownModel(model));
    }
    if ask.prompts.is_empty() {
        return Err(ApiError::Invalid("there is no prompt".to_owned()));
    }
    let root = Root::new(&config.model, adapter, &ask.cache_salt);
    let output_tokens = ask.output_tokens.unwrap_or(config.default_output_tokens);
    let (choices, requests) = ask
        .prompts
        .into_iter()
        .map(|prompt| choose(app, root, prompt, output_tokens))
        .unzip::<_, _, Vec<_>, Vec<_>>();
    let created_s = unix_s();
    let id = request_id.unwrap_or_else(|| format!("{:016x}", root.fingerprint(&app.next_id().to_le_bytes())));
    let answer = Answer {
        id_json: json!(format!("{}{id}", protocol.wire().id_prefix())).to_string(),
        model_json: json!(model).to_string(),
        created_s,
        choices,
        capped: ask.output_tokens.is_some(),
        include_usage: ask.include_usage,
    };
    Ok((answer, requests))
}

/// The answer to one prompt, and what the model is told of both.
fn choose(app: &App, root: Root, prompt: Vec<u8>, output_tokens: usize) -> (Choice, Request) {
    let prompt_tokens = tokens_of_bytes(prompt.len());
    let filler = Filler::new(root.fingerprint(&prompt), app.config.seed);
    // An answer that cannot fit is refused by the model; its words must not be made first.
    let fits = prompt_tokens + output_tokens <= app.hub.params.kv_tokens;
    let mut text = prompt;
    text.extend_from_slice(filler.text(0..if fits { output_tokens } else { 0 }).as_bytes());
    let chain = chain_of_bytes(root, &text, app.hub.params.block_tokens);
    let request = Request::new(RequestId(0), prompt_tokens, output_tokens, chain);
    (Choice { filler, prompt_tokens, cached_tokens: 0, output_tokens }, request)
}
