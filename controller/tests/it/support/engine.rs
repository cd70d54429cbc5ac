//! An engine's outside: `/metrics` and `/health`, answering as a test says.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What the engine answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// This page at `/metrics`.
    Page(String),
    /// No `/metrics`, but `/health` is well.
    HealthOnly,
    /// As trtllm-serve: JSON at `/metrics`, this page at `/prometheus/metrics`.
    Trtllm(String),
    /// 503 everywhere.
    Broken,
}

/// A running engine; dropping it closes its port.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    task: JoinHandle<()>,
}

type Shared = State<Arc<Mutex<Answer>>>;

// === impl Engine ===

impl Engine {
    /// Starts one on a free port.
    pub(crate) async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new(answer));
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/prometheus/metrics", get(prometheus))
            .route("/health", get(health))
            .with_state(Arc::clone(&answer));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, answer, task }
    }

    /// Changes the answer.
    pub(crate) fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn metrics(State(answer): Shared) -> (StatusCode, String) {
    match answer.lock().unwrap().clone() {
        Answer::Page(page) => (StatusCode::OK, page),
        Answer::HealthOnly => (StatusCode::NOT_FOUND, String::new()),
        Answer::Trtllm(_) => (StatusCode::OK, "[{\"iter\": 1}]".to_owned()),
        Answer::Broken => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
    }
}

async fn prometheus(State(answer): Shared) -> (StatusCode, String) {
    match answer.lock().unwrap().clone() {
        Answer::Trtllm(page) => (StatusCode::OK, page),
        _ => (StatusCode::NOT_FOUND, String::new()),
    }
}

async fn health(State(answer): Shared) -> StatusCode {
    match *answer.lock().unwrap() {
        Answer::Broken => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    }
}
