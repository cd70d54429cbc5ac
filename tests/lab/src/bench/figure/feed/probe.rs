//! Prefixes whose way into every worker is timed.

use super::Sender;
use crate::cluster::{MODEL, POOL};
use crate::workload::words;
use anyhow::{Context, ensure};
use bytes::Bytes;
use futures::future::try_join_all;
use http::Method;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use warmpath_core::ids::CellHash;
use warmpath_core::prompt::{Api, Request};
use warmpath_core::routing::Query;
use warmpath_core::time::Timestamp;
use warmpath_core::view::View;
use warmpath_core::wire::{Kind, Pool, PoolEndpoint, Pools};
use warmpath_envoy::DEADLINE;
use warmpath_envoy::process::Envoy;
use warmpath_http::Connection;

const PATH: &str = "/v1/chat/completions";
const HEADERS: [(&str, &str); 2] = [("content-type", "application/json"), ("x-warmpath-explain", "1")];

/// Tokens of a probe's prompt: several cells.
const PROMPT_TOKENS: usize = 512;

/// Numbers of prompts that no load uses.
const FIRST_NUMBER: u64 = 1 << 40;

/// The probes.
#[derive(Debug)]
pub(super) struct Probes {
    workers: Vec<Connection>,
    /// Knows the pool, to hash a prompt as the filter does.
    view: View,
    next: u64,
}

// === impl Probes ===

impl Probes {
    /// Of an Envoy with this many workers, whose pool has these engines.
    pub(super) async fn new(envoy: &Envoy, workers: u32, engines: &[SocketAddr]) -> anyhow::Result<Self> {
        let endpoints = engines
            .iter()
            .map(|engine| PoolEndpoint { address: engine.to_string(), ..PoolEndpoint::default() })
            .collect();
        let pool = Pool {
            name: POOL.into(),
            models: vec!["*".into()],
            adapters: Vec::new(),
            endpoints,
            ..Pool::default()
        };
        let mut view = View::default();
        view.apply(&Kind::Pools(Pools { pools: vec![pool] }).into(), Timestamp::ZERO);
        let workers = envoy.connection_of_each_worker(usize::try_from(workers)?).await?;
        Ok(Self { workers, view, next: FIRST_NUMBER })
    }

    /// Tells one new prefix, and returns after how long the last worker used it.
    pub(super) async fn probe(&mut self, sender: &Sender) -> anyhow::Result<Duration> {
        let prompt = words(self.next, PROMPT_TOKENS);
        self.next += 1;
        let body = json!({ "model": MODEL, "messages": [{ "role": "user", "content": prompt }] });
        let body = Bytes::from(body.to_string());
        let chain = self.chain(&body)?;
        let begun = Instant::now();
        sender.tell(&chain).await?;
        let known = self.workers.iter_mut().map(|worker| known_after(worker, body.clone(), begun));
        let times = try_join_all(known).await?;
        times.into_iter().max().context("no worker")
    }

    fn chain(&self, body: &[u8]) -> anyhow::Result<Vec<CellHash>> {
        let request = Request::parse(Api::Chat, body).ok().context("a prompt that cannot be read")?;
        let query = Query::of_request(&self.view, Api::Chat, Some(&request), body.len(), Timestamp::ZERO);
        Ok(query.ok().context("no pool")?.chain)
    }
}

/// When the worker behind this connection first names a holder.
async fn known_after(worker: &mut Connection, body: Bytes, begun: Instant) -> anyhow::Result<Duration> {
    let known = async {
        loop {
            let response = worker.send(Method::POST, PATH, &HEADERS, body.clone()).await?;
            ensure!(response.status == 200, "a question was answered {}", response.status);
            let answer: Value = response.json();
            let candidates = answer.get("candidates").and_then(Value::as_array).context("no candidates")?;
            let cells = |candidate: &Value| candidate.get("cells").and_then(Value::as_u64);
            if candidates.iter().filter_map(cells).any(|cells| cells > 0) {
                return Ok(begun.elapsed());
            }
        }
    };
    timeout(DEADLINE, known).await.context("a prefix has not come to every worker")?
}
