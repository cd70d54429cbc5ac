//! An inference request from its body to its response.

use super::{
    config::Opening,
    engine_server::App,
    events::Content,
    flight::Ticket,
    legs,
    reply::{Body, CACHED_TOKENS, PROMPT_TOKENS, json as reply_json, with_body},
    route::unix_s,
    stream::EventStream,
};
use crate::{
    api::{ApiError, Choice, ModelOutput, ParsedRequest, Protocol},
    model::{Request, RequestId, Root},
    text::Tokenized,
};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;
use std::sync::Arc;

/// A request on its way through the model.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) protocol: Protocol,
    pub(super) stream: bool,
    pub(super) output: ModelOutput,
    pub(super) requests: Vec<Request>,
    /// What their blocks hold, where that is published.
    pub(super) contents: Vec<Arc<Content>>,
    /// Of each prompt, what its output follows from.
    pub(super) fingerprints: Vec<u64>,
    /// The tokens of the first prompt.
    pub(super) prompt_tokens: Vec<u32>,
    /// Whether the request limits the output.
    pub(super) is_capped: bool,
}

/// Serves a request in any of the protocols.
pub(super) async fn infer(
    app: &Arc<App>,
    protocol: Protocol,
    request_id: Option<String>,
    body: &Bytes,
) -> Result<Response<Body>, ApiError> {
    // First, so that a request which is refused below gives up what it would have fetched.
    let leg = legs::read(app, protocol, body)?;
    let parsed = protocol.parse_with(body, app.reading())?;
    let mut job = plan(app, protocol, request_id, parsed)?;
    if let Some(empty) = app.faults.take_empty() {
        app.count_fault();
        tokio::time::sleep(empty).await;
        job.requests.clear();
        job.output.choices.iter_mut().for_each(|choice| choice.output_tokens = 0);
        let ticket = submit(app, &job)?;
        return respond(app, job, ticket).await;
    }
    legs::serve(app, leg, job).await
}

/// Hands a job to the model.
pub(super) fn submit(app: &App, job: &Job) -> Result<Ticket, ApiError> {
    let wake_every = if job.stream { app.config.tokens_per_chunk } else { usize::MAX };
    app.hub.submit(job.requests.clone(), &job.contents, wake_every)
}

/// The response to a job that the model has.
pub(super) async fn respond(app: &App, job: Job, ticket: Ticket) -> Result<Response<Body>, ApiError> {
    let Job { protocol, stream, mut output, .. } = job;
    if !stream {
        let output = finish(output, &ticket).await;
        return Ok(with_counts(reply_json(StatusCode::OK, &protocol.wire().whole(&output)), &output));
    }
    let config = &app.config;
    // The head of a usual stream goes out with its first token: before, nothing is known of the cache.
    let is_early = protocol == Protocol::Responses
        || config.opening == Opening::AtOnce
        || config.comment_interval.is_some();
    let prompt = output.prompt_tokens();
    if is_early {
        let mut response = streamed(app, protocol, ticket, output);
        response.headers_mut().insert(PROMPT_TOKENS, HeaderValue::from(prompt));
        return Ok(response);
    }
    ticket.flight.reached(|_| 1).await;
    ticket.note_cached(&mut output);
    let counts = output.clone();
    Ok(with_counts(streamed(app, protocol, ticket, output), &counts))
}

/// The output once the model has made all of it.
pub(super) async fn finish(mut output: ModelOutput, ticket: &Ticket) -> ModelOutput {
    ticket.flight.reached(|slot| output.choices[slot].output_tokens).await;
    ticket.note_cached(&mut output);
    output
}

/// A response with the numbers of its prompts.
pub(super) fn with_counts(mut response: Response<Body>, output: &ModelOutput) -> Response<Body> {
    response.headers_mut().insert(PROMPT_TOKENS, HeaderValue::from(output.prompt_tokens()));
    response.headers_mut().insert(CACHED_TOKENS, HeaderValue::from(output.cached_tokens()));
    response
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
) -> Result<Job, ApiError> {
    let config = &app.config;
    let model = parsed.model.unwrap_or_else(|| config.model.clone());
    let adapter = if model == config.model { "" } else { &model };
    if !adapter.is_empty() && app.adapters.number(adapter).is_none() {
        return Err(ApiError::UnknownModel(model));
    }
    if parsed.prompts.is_empty() {
        return Err(ApiError::Invalid("there is no prompt".to_owned()));
    }
    let root = Root::new(&config.model, adapter, &parsed.cache_salt);
    let output_tokens = parsed.output_tokens.unwrap_or(config.default_output_tokens);
    let prompts: Vec<_> = parsed.prompts.into_iter().map(|prompt| app.cut.tokens(prompt)).collect();
    let fingerprints: Vec<_> = prompts.iter().map(|prompt| prompt.fingerprint(root)).collect();
    let prompt_tokens = prompts.first().map(Tokenized::ids).unwrap_or_default();
    let is_capped = parsed.output_tokens.is_some();
    let (mut choices, mut requests, mut contents) = (Vec::new(), Vec::new(), Vec::new());
    for (prompt, fingerprint) in prompts.into_iter().zip(&fingerprints) {
        let (choice, request, whole) = choose(app, root, prompt, *fingerprint, output_tokens);
        if config.events.is_some() {
            contents.push(Arc::new(content(app, adapter, &parsed.cache_salt, &request, &whole)));
        }
        choices.push(choice);
        requests.push(request);
    }
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
    let stream = parsed.stream;
    Ok(Job { protocol, stream, output, requests, contents, fingerprints, prompt_tokens, is_capped })
}

/// The output for one prompt, the model's request for both, and both as tokens.
fn choose(
    app: &App,
    root: Root,
    prompt: Tokenized,
    fingerprint: u64,
    output_tokens: usize,
) -> (Choice, Request, Tokenized) {
    let prompt_tokens = prompt.count();
    let filler = app.filler(fingerprint);
    // The model refuses an output that cannot fit; its words must not be generated first.
    let fits = prompt_tokens + output_tokens <= app.hub.params.kv_tokens;
    let mut whole = prompt;
    whole.append(&filler, if fits { output_tokens } else { 0 });
    let root = if app.config.prefix_caching { root } else { root.apart(app.next_id()) };
    let chain = whole.chain(root, app.hub.params.block_tokens);
    let request = Request::new(RequestId(0), prompt_tokens, output_tokens, chain);
    (Choice { filler, prompt_tokens, cached_tokens: 0, output_tokens }, request, whole)
}

/// What the blocks of a request hold; an adapter's number is its place among those that are loaded, from 1.
fn content(app: &App, adapter: &str, salt: &str, request: &Request, whole: &Tokenized) -> Content {
    let number = app.adapters.number(adapter).unwrap_or(1);
    Content {
        chain: request.chain.clone(),
        tokens: whole.ids(),
        block_tokens: app.hub.params.block_tokens,
        adapter: (!adapter.is_empty()).then(|| (number, adapter.to_owned())),
        salt: salt.to_owned(),
    }
}
