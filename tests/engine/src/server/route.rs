//! From an HTTP request to its response.

use super::{
    engine_server::App,
    fault::{Nonsense, Scrape},
    infer,
    legs::TransferProtocol,
    lora,
    reply::{Body, ENGINE, REQUEST_ID, broken, broken_after, json as reply_json, whole, with_body},
    sim, sleep, tokens,
};
use crate::api::{ApiError, Protocol};
use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::json;
use std::{
    convert::Infallible,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Longest request body; several times the longest prompt of any model.
const BODY_BYTES_MAX: usize = 64 << 20;

/// The version of vLLM whose protocols are served, as `/version` reports it.
const VLLM_VERSION: &str = "0.32.0";

/// The operation that a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Infer(Protocol),
    CountTokens,
    Tokenize,
    Detokenize,
    Render(Protocol),
    Models,
    LoadAdapter,
    UnloadAdapter,
    Version,
    Health,
    Metrics,
    ResetPrefixCache,
    EventSources,
    Sleep,
    WakeUp,
    IsSleeping,
    CollectiveRpc,
    SimState,
    SimFault,
    Unknown,
}

// === impl Route ===

impl Route {
    /// The route of a path, with the path's name in the counters and its method.
    fn of(path: &str) -> (Self, &'static str, Method) {
        match path {
            "/v1/completions" => (Self::Infer(Protocol::Completions), "/v1/completions", Method::POST),
            "/v1/chat/completions" => (Self::Infer(Protocol::Chat), "/v1/chat/completions", Method::POST),
            "/v1/responses" => (Self::Infer(Protocol::Responses), "/v1/responses", Method::POST),
            "/v1/messages" => (Self::Infer(Protocol::Messages), "/v1/messages", Method::POST),
            "/v1/messages/count_tokens" => (Self::CountTokens, "/v1/messages/count_tokens", Method::POST),
            "/detokenize" => (Self::Detokenize, "/detokenize", Method::POST),
            "/reset_prefix_cache" => (Self::ResetPrefixCache, "/reset_prefix_cache", Method::POST),
            "/kv_event_sources" => (Self::EventSources, "/kv_event_sources", Method::GET),
            "/sleep" => (Self::Sleep, "/sleep", Method::POST),
            "/wake_up" => (Self::WakeUp, "/wake_up", Method::POST),
            "/is_sleeping" => (Self::IsSleeping, "/is_sleeping", Method::GET),
            "/collective_rpc" => (Self::CollectiveRpc, "/collective_rpc", Method::POST),
            "/tokenize" => (Self::Tokenize, "/tokenize", Method::POST),
            "/v1/completions/render" => {
                (Self::Render(Protocol::Completions), "/v1/completions/render", Method::POST)
            }
            "/v1/chat/completions/render" => {
                (Self::Render(Protocol::Chat), "/v1/chat/completions/render", Method::POST)
            }
            "/version" => (Self::Version, "/version", Method::GET),
            "/v1/load_lora_adapter" => (Self::LoadAdapter, "/v1/load_lora_adapter", Method::POST),
            "/v1/unload_lora_adapter" => (Self::UnloadAdapter, "/v1/unload_lora_adapter", Method::POST),
            "/load_lora_adapter" => (Self::LoadAdapter, "/load_lora_adapter", Method::POST),
            "/unload_lora_adapter" => (Self::UnloadAdapter, "/unload_lora_adapter", Method::POST),
            "/v1/models" => (Self::Models, "/v1/models", Method::GET),
            "/health" => (Self::Health, "/health", Method::GET),
            "/metrics" => (Self::Metrics, "/metrics", Method::GET),
            "/sim/state" => (Self::SimState, "/sim/state", Method::GET),
            "/sim/fault" => (Self::SimFault, "/sim/fault", Method::POST),
            _ => (Self::Unknown, "other", Method::GET),
        }
    }

    const fn is_sim(self) -> bool {
        matches!(self, Self::SimState | Self::SimFault)
    }

    const fn is_anthropic(self) -> bool {
        matches!(self, Self::Infer(Protocol::Messages) | Self::CountTokens)
    }
}

/// Responds to one request; a failure is a response as well.
pub(super) async fn respond(
    app: Arc<App>,
    gave_order: Arc<AtomicBool>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let request_id = request.headers().get(REQUEST_ID).cloned();
    let (route, name, method) = Route::of(request.uri().path());
    if !route.is_sim() {
        app.count_request(name);
        app.faults.unstalled().await;
    }
    let dispatched = if route == Route::Unknown {
        Ok(detail(StatusCode::NOT_FOUND, "Not Found"))
    } else if request.method() != method {
        Ok(detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"))
    } else {
        dispatch(&app, &gave_order, route, request).await
    };
    let mut response = dispatched.unwrap_or_else(|error| {
        let body = match app.config.transfer.as_ref().map(|transfer| transfer.protocol) {
            _ if route.is_anthropic() => error.anthropic_body(),
            Some(TransferProtocol::Sglang | TransferProtocol::TensorRt) => error.flat_body(),
            _ => error.openai_body(),
        };
        reply_json(error.status(), &body)
    });
    if let Ok(engine) = HeaderValue::from_str(&app.config.name) {
        response.headers_mut().insert(ENGINE, engine);
    }
    if let Some(id) = request_id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    Ok(response)
}

async fn dispatch(
    app: &Arc<App>,
    gave_order: &AtomicBool,
    route: Route,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    match route {
        Route::Infer(protocol) => {
            if app.faults.take_silent() {
                app.count_fault();
                std::future::pending::<()>().await;
            }
            if let Some((status, after)) = app.faults.take_status() {
                app.count_fault();
                tokio::time::sleep(after).await;
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                return Err(ApiError::Fault(status));
            }
            require_json(&request)?;
            let id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).map(str::to_owned);
            let body = read_body(request).await?;
            app.sleep.awake().await?;
            if let Some(what) = app.faults.take_nonsense(false) {
                app.count_fault();
                return Ok(nonsense(what));
            }
            let response = infer::infer(app, protocol, id, &body).await?;
            Ok(spoil(app, response).await)
        }
        Route::CountTokens => {
            require_json(&request)?;
            tokens::count(app, &read_body(request).await?)
        }
        Route::Tokenize => {
            require_json(&request)?;
            tokens::tokenize(app, &read_body(request).await?)
        }
        Route::Detokenize => {
            require_json(&request)?;
            tokens::detokenize(app, &read_body(request).await?)
        }
        Route::ResetPrefixCache => Ok(reply_json(StatusCode::OK, &json!({"success": app.hub.reset()}))),
        Route::EventSources => Ok(event_sources(app).await),
        Route::Sleep | Route::WakeUp | Route::IsSleeping | Route::CollectiveRpc => {
            asleep(app, route, request).await
        }
        Route::Render(protocol) => {
            require_json(&request)?;
            tokens::render(app, protocol, &read_body(request).await?)
        }
        Route::Version => Ok(reply_json(StatusCode::OK, &json!({"version": VLLM_VERSION}))),
        Route::Models => Ok(models(app)),
        Route::LoadAdapter => {
            require_json(&request)?;
            lora::load(app, &read_body(request).await?)
        }
        Route::UnloadAdapter => {
            require_json(&request)?;
            lora::unload(app, &read_body(request).await?)
        }
        Route::Health => Ok(whole(StatusCode::OK, "text/plain", "")),
        Route::Metrics => scrape(app).await,
        Route::SimState => Ok(sim::state(app)),
        Route::SimFault => sim::fault(app, gave_order, &read_body(request).await?),
        Route::Unknown => Ok(detail(StatusCode::NOT_FOUND, "Not Found")),
    }
}

/// The development endpoints of sleep mode, which an engine without it does not have.
async fn asleep(app: &App, route: Route, request: Request<Incoming>) -> Result<Response<Body>, ApiError> {
    let Some(wake_time) = app.config.wake_time else {
        return Ok(detail(StatusCode::NOT_FOUND, "Not Found"));
    };
    let query = request.uri().query().unwrap_or_default().to_owned();
    match route {
        Route::Sleep => sleep::sleep(app, &query),
        Route::WakeUp => Ok(sleep::wake_up(app, &query, wake_time).await),
        Route::IsSleeping => Ok(sleep::is_sleeping(app)),
        _ => {
            require_json(&request)?;
            sleep::collective_rpc(app, &read_body(request).await?)
        }
    }
}

/// What comes instead of a response.
fn nonsense(what: Nonsense) -> Response<Body> {
    match what {
        Nonsense::Html => whole(StatusCode::OK, "text/html", "<html><body>Please log in.</body></html>"),
        _ => reply_json(StatusCode::OK, &json!({})),
    }
}

/// A response as the faults let it pass.
async fn spoil(app: &App, response: Response<Body>) -> Response<Body> {
    if let Some(late) = app.faults.take_late() {
        app.count_fault();
        tokio::time::sleep(late).await;
    }
    let is_stream =
        response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/"));
    if is_stream || !app.faults.take_half() {
        return response;
    }
    app.count_fault();
    let (head, body) = response.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    Response::from_parts(head, broken_after(body.slice(..body.len() / 2)))
}

/// `/metrics`, unless something is wrong with it.
async fn scrape(app: &App) -> Result<Response<Body>, ApiError> {
    const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
    match app.faults.scrape() {
        None => {}
        Some((_, Scrape::Late { ms })) => tokio::time::sleep(Duration::from_millis(ms)).await,
        Some((_, Scrape::Status { code })) => {
            return Err(ApiError::Fault(
                StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            ));
        }
        Some((_, Scrape::Cut)) => return Ok(with_body(StatusCode::OK, CONTENT_TYPE, broken())),
        Some((order, Scrape::Frozen)) => {
            return Ok(whole(StatusCode::OK, CONTENT_TYPE, app.frozen_page(order)));
        }
        Some((_, Scrape::Busy { running })) => {
            return Ok(whole(StatusCode::OK, CONTENT_TYPE, app.metrics_page(Some(running))));
        }
    }
    Ok(whole(StatusCode::OK, CONTENT_TYPE, app.metrics_page(None)))
}

fn detail(status: StatusCode, detail: &str) -> Response<Body> {
    reply_json(status, &json!({"detail": detail}))
}

fn require_json(request: &Request<Incoming>) -> Result<(), ApiError> {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    if essence.trim().eq_ignore_ascii_case("application/json") { Ok(()) } else { Err(ApiError::NotJson) }
}

async fn read_body(request: Request<Incoming>) -> Result<bytes::Bytes, ApiError> {
    match Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::TooLarge(BODY_BYTES_MAX)),
        Err(error) => Err(ApiError::Invalid(format!("the body ended early: {error}"))),
    }
}

/// Where each rank's events come from; nothing, where there are none.
async fn event_sources(app: &App) -> Response<Body> {
    let (Some(events), Some(sources)) = (&app.config.events, app.event_sources().await) else {
        return reply_json(StatusCode::OK, &json!({}));
    };
    let source = json!({
        "enable_kv_cache_events": true, "publisher": "zmq", "endpoint": sources.endpoint,
        "replay_endpoint": sources.replay_endpoint, "buffer_steps": events.buffer_steps, "hwm": 100_000,
        "max_queue_size": 100_000, "topic": events.topic,
    });
    reply_json(StatusCode::OK, &json!({events.data_parallel_rank.to_string(): source}))
}

fn models(app: &App) -> Response<Body> {
    let config = &app.config;
    let max_model_len = config.params.blocks() * config.params.block_tokens;
    let model = |id: &str, parent: Option<&str>| {
        json!({
            "id": id, "object": "model", "created": unix_s(), "owned_by": "vllm", "root": id, "parent": parent,
            "max_model_len": parent.is_none().then_some(max_model_len),
        })
    };
    let adapters = app.adapters.names();
    let adapters = adapters.iter().map(|id| model(id, Some(&config.model)));
    let data: Vec<_> = std::iter::once(model(&config.model, None)).chain(adapters).collect();
    reply_json(StatusCode::OK, &json!({"object": "list", "data": data}))
}

/// Seconds since 1970.
pub(super) fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
