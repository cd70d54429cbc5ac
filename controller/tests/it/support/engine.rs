//! The HTTP side of an engine: `/metrics` and `/health`, scripted by a test.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::get;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What each engine lists.
const MODELS: &str = r#"{"object":"list","data":[{"id":"m","created":1,"max_model_len":4096}]}"#;

/// The engine's responses.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// This page at `/metrics`.
    Page(String),
    /// No `/metrics`, but `/health` is well.
    HealthOnly,
    /// As trtllm-serve: JSON at `/metrics`, this page at `/prometheus/metrics`.
    Trtllm(String),
    /// A redirect to this place at `/metrics`, this page at `/metrics/`.
    Moved(String, String),
    /// 503 everywhere.
    Broken,
}

/// A running engine; dropping it closes its port.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) address: SocketAddr,
    reply: Arc<Mutex<Reply>>,
    task: JoinHandle<()>,
}

type Shared = State<Arc<Mutex<Reply>>>;

// === impl Engine ===

impl Engine {
    /// Starts one on a free port.
    pub(crate) async fn start(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let reply = Arc::new(Mutex::new(reply));
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/metrics/", get(mounted))
            .route("/prometheus/metrics", get(prometheus))
            .route("/health", get(health))
            .route("/v1/models", get(|| async { MODELS }))
            .with_state(Arc::clone(&reply));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, reply, task }
    }

    /// Changes the responses.
    pub(crate) fn reply_with(&self, reply: Reply) {
        *self.reply.lock().unwrap() = reply;
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn metrics(State(reply): Shared) -> (StatusCode, HeaderMap, String) {
    let mut headers = HeaderMap::new();
    let (status, body) = match reply.lock().unwrap().clone() {
        Reply::Page(page) => (StatusCode::OK, page),
        Reply::HealthOnly => (StatusCode::NOT_FOUND, String::new()),
        Reply::Trtllm(_) => (StatusCode::OK, "[{\"iter\": 1}]".to_owned()),
        Reply::Moved(location, _) => {
            headers.insert(header::LOCATION, location.parse().unwrap());
            (StatusCode::TEMPORARY_REDIRECT, String::new())
        }
        Reply::Broken => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
    };
    (status, headers, body)
}

async fn mounted(State(reply): Shared) -> (StatusCode, String) {
    match reply.lock().unwrap().clone() {
        Reply::Moved(_, page) => (StatusCode::OK, page),
        _ => (StatusCode::NOT_FOUND, String::new()),
    }
}

async fn prometheus(State(reply): Shared) -> (StatusCode, String) {
    match reply.lock().unwrap().clone() {
        Reply::Trtllm(page) => (StatusCode::OK, page),
        _ => (StatusCode::NOT_FOUND, String::new()),
    }
}

async fn health(State(reply): Shared) -> StatusCode {
    match *reply.lock().unwrap() {
        Reply::Broken => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    }
}
