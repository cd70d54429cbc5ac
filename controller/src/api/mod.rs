//! The controller's HTTP API: metrics, health, state, explanations, and the filter itself.
//!
//! Plain HTTP on its own port, for use inside the cluster. It is read-only. Explanations need a token, unless the address is
//! a loopback one.

mod explain;
mod gauges;
mod held;
mod page;
mod proxies;
mod state;
mod wasm;

pub use page::{
    EndpointState, HeldState, HoldState, KvState, PoolState, ProblemPage, PromptState, ProxiesPage,
    ProxyState, RefusedState, ReplicaState, StatePage, TransferState, WatchPage,
};
pub use wasm::{Wasm, WasmError};

use crate::events::knowledge::Knowledge;
use crate::metrics::Metrics;
use crate::publish::Shared;
use crate::telemetry::Fleet;
use crate::watch::Followed;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::{Semaphore, watch};
use warmpath_core::prompt::OMITTED_PREFIXES_DEFAULT;

/// The content type of a metrics page.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Explanations at once: each has a body of up to 16 MiB.
const EXPLANATIONS_MAX: usize = 2;

/// The state of all handlers.
#[derive(Clone, Debug)]
pub struct Api {
    shared: Shared,
    metrics: Arc<Metrics>,
    fleet: Fleet,
    cluster: Option<watch::Receiver<Option<Followed>>>,
    /// The port of this API, which the other replicas have as well.
    port: u16,
    unseen: Arc<AtomicUsize>,
    was_ready: Arc<AtomicBool>,
    omitted_prefixes: Arc<[String]>,
    explain: Explain,
    /// Turns for explanations, whose bodies take memory.
    explanations: Arc<Semaphore>,
    wasm: Option<Wasm>,
    knowledge: Knowledge,
}

/// Who is served explanations: they show anybody who guesses a prompt which engine holds how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Explain {
    /// Whoever reaches the address.
    Everybody,
    /// Requests that carry this token.
    Token(Arc<str>),
    /// Nobody.
    Nobody,
}

// === impl Api ===

impl Api {
    /// `unseen` counts the endpoints whose first scrape has not ended.
    pub fn new(shared: Shared, metrics: Arc<Metrics>, fleet: Fleet, unseen: Arc<AtomicUsize>) -> Self {
        let omitted_prefixes = OMITTED_PREFIXES_DEFAULT.map(str::to_owned).into();
        Self {
            shared,
            metrics,
            fleet,
            cluster: None,
            port: 0,
            unseen,
            was_ready: Arc::default(),
            omitted_prefixes,
            explain: Explain::Nobody,
            explanations: Arc::new(Semaphore::new(EXPLANATIONS_MAX)),
            wasm: None,
            knowledge: Knowledge::default(),
        }
    }

    /// Explains as proxies decide that leave out text of a system prompt that begins with one of `prefixes`.
    #[must_use]
    pub fn omitting(self, prefixes: &[String]) -> Self {
        Self { omitted_prefixes: prefixes.into(), ..self }
    }

    /// Shows what is known of a cluster, if one is followed.
    #[must_use]
    pub fn following(self, cluster: Option<watch::Receiver<Option<Followed>>>) -> Self {
        Self { cluster, ..self }
    }

    /// Is served at `listen`. Explanations are served to requests with `token`; without one, only on a loopback address.
    #[must_use]
    pub fn listening_at(self, listen: SocketAddr, token: Option<&str>) -> Self {
        let explain = match token {
            Some(token) => Explain::Token(token.into()),
            None if listen.ip().is_loopback() => Explain::Everybody,
            None => Explain::Nobody,
        };
        Self { explain, port: listen.port(), ..self }
    }

    /// Serves this filter.
    #[must_use]
    pub fn serving(self, wasm: Option<Wasm>) -> Self {
        Self { wasm, ..self }
    }

    /// Shows what is known of engines' caches, and how.
    #[must_use]
    pub fn knowing(self, knowledge: Knowledge) -> Self {
        Self { knowledge, ..self }
    }

    /// All routes.
    pub fn router(self) -> Router {
        Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/state", get(state::show))
            .route("/proxies", get(proxies::show))
            .route("/explain", post(explain::show))
            .route("/wasm", get(wasm::show))
            .route("/wasm/{sha256}/warmpath-router.wasm", get(wasm::send))
            .with_state(self)
    }

    /// Ready after the first round of scrapes, and from then on: an endpoint that joins later must not make
    /// the controller unready.
    fn is_ready(&self) -> bool {
        let is_ready = self.was_ready.load(Ordering::Acquire) || self.unseen.load(Ordering::Acquire) == 0;
        if is_ready {
            self.was_ready.store(true, Ordering::Release);
        }
        is_ready
    }
}

async fn metrics(State(api): State<Api>) -> impl IntoResponse {
    let page = api.metrics.page_after(|metrics| {
        api.shared.with(|hub, now| gauges::set(hub, &api.fleet, metrics, now));
        gauges::set_knowledge(&api.knowledge, metrics);
    });
    ([(header::CONTENT_TYPE, OPENMETRICS)], page)
}

async fn ready(State(api): State<Api>) -> impl IntoResponse {
    if api.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the first scrapes have not ended\n")
    }
}
