//! An inference request from its body to its response.

use super::{
    config::Opening,
    engine_server::App,
    flight::Ticket,
    reply::{Body, CACHED_TOKENS, PROMPT_TOKENS, json as reply_json, with_body},
    route::unix_s,
    stream::EventStream,
};
use crate::{
    api::{ApiError, Choice, ModelOutput, ParsedRequest, Protocol},
    model::{Request, RequestId, Root, chain_of_bytes, tokens_of_bytes},
    text::Filler,
};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;
use std::sync::Arc;

/// Serves a request in any of the protocols.
pub(super) async fn infer(
    app: &Arc<App>,
    protocol: Protocol,
    request_id: Option<String>,
    body: &Bytes,
) -> Result<Response<Body>, ApiError> {
    let parsed = protocol.parse_with(body, app.config.media)?;
    let stream = parsed.stream;
    let (mut output, mut requests) = plan(app, protocol, request_id, parsed)?;
    if let Some(empty) = app.faults.take_empty() {
        app.count_fault();
        tokio::time::sleep(empty).await;
        requests.clear();
        output.choices.iter_mut().for_each(|choice| choice.output_tokens = 0);
    }
    let config = &app.config;
    let ticket = app.hub.submit(requests, if stream { config.tokens_per_chunk } else { usize::MAX })?;
    // The head of a usual stream goes out with its first token: before, nothing is known of the cache.
    let is_early = protocol == Protocol::Responses
        || config.opening == Opening::AtOnce
        || config.comment_interval.is_some();
    let prompt = output.prompt_tokens();
    let mut response = if stream && is_early {
        streamed(app, protocol, ticket, output)
    } else {
        let tokens: Vec<_> = output.choices.iter().map(|choice| choice.output_tokens).collect();
        ticket.flight.reached(|slot| if stream { 1 } else { tokens[slot] }).await;
        ticket.note_cached(&mut output);
        let cached = output.cached_tokens();
        let mut response = if stream {
            streamed(app, protocol, ticket, output)
        } else {
            reply_json(StatusCode::OK, &protocol.wire().whole(&output))
        };
        response.headers_mut().insert(CACHED_TOKENS, HeaderValue::from(cached));
        response
    };
    response.headers_mut().insert(PROMPT_TOKENS, HeaderValue::from(prompt));
    Ok(response)
}

fn streamed(app: &App, protocol: Protocol, ticket: Ticket, output: ModelOutput) -> Response<Body> {
    let mut events = EventStream::new(ticket, output, protocol.wire(), app.config.tokens_per_chunk);
    events.opening = app.config.opening;
    events.comment_interval = app.config.comment_interval;
    events.cut_after = app.faults.take_cut();
    if events.cut_after.is_some() {
        app.count_fault();
    }
    with_body(StatusCode::OK, "text/event-stream; charset=utf-8", events.into_body())
}

/// Computes the whole output in advance; the model adds the timing and the number of cached tokens.
fn plan(
    app: &App,
    protocol: Protocol,
    request_id: Option<String>,
    parsed: ParsedRequest,
) -> Result<(ModelOutput, Vec<Request>), ApiError> {
    let config = &app.config;
    let model = parsed.model.unwrap_or_else(|| config.model.clone());
    let adapter = if model == config.model { "" } else { &model };
    if !adapter.is_empty() && !config.adapters.iter().any(|known| known == adapter) {
        return Err(ApiError::UnknownModel(model));
    }
    if parsed.prompts.is_empty() {
        return Err(ApiError::Invalid("there is no prompt".to_owned()));
    }
    let root = Root::new(&config.model, adapter, &parsed.cache_salt);
    let output_tokens = parsed.output_tokens.unwrap_or(config.default_output_tokens);
    let (choices, requests) = parsed
        .prompts
        .into_iter()
        .map(|prompt| choose(app, root, prompt, output_tokens))
        .unzip::<_, _, Vec<_>, Vec<_>>();
    let created_s = unix_s();
    let id = request_id.unwrap_or_else(|| format!("{:016x}", root.fingerprint(&app.next_id().to_le_bytes())));
    let output = ModelOutput {
        id_json: json!(format!("{}{id}", protocol.wire().id_prefix())).to_string(),
        model_json: json!(model).to_string(),
        created_s,
        choices,
        tool: parsed.tool,
        capped: parsed.output_tokens.is_some(),
        include_usage: parsed.include_usage,
    };
    Ok((output, requests))
}

/// The output for one prompt, and the model's request for both.
fn choose(app: &App, root: Root, prompt: Vec<u8>, output_tokens: usize) -> (Choice, Request) {
    let prompt_tokens = tokens_of_bytes(prompt.len());
    let filler = Filler::new(root.fingerprint(&prompt), app.config.seed);
    // The model refuses an output that cannot fit; its words must not be generated first.
    let fits = prompt_tokens + output_tokens <= app.hub.params.kv_tokens;
    let mut text = prompt;
    text.extend_from_slice(filler.text(0..if fits { output_tokens } else { 0 }).as_bytes());
    let root = if app.config.prefix_caching { root } else { root.apart(app.next_id()) };
    let chain = chain_of_bytes(root, &text, app.hub.params.block_tokens);
    let request = Request::new(RequestId(0), prompt_tokens, output_tokens, chain);
    (Choice { filler, prompt_tokens, cached_tokens: 0, output_tokens }, request)
}
