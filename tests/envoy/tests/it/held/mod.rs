//! Requests that are held in a real Envoy: paused with their bodies until their pool has an endpoint. What Envoy does to them
//! meanwhile, and what their clients see.

mod bounds;
mod disturbed;
mod leave;
mod wake;

use crate::stack::{MODEL, PATH, completion, prompt};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::task::JoinHandle;
use warmpath_envoy::DEADLINE;
use warmpath_envoy::process::Envoy;
use warmpath_envoy::until;
use warmpath_http::{Client, ClientError, Response};

/// A body that fills many of Envoy's buffers.
const LONG_BYTES: usize = 3_000_000;

/// How a request is sent.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Http1,
    Http2,
    Http1Long,
    Http2Long,
    Streamed,
}

// === impl Kind ===

impl Kind {
    const ALL: [Self; 5] = [Self::Http1, Self::Http2, Self::Http1Long, Self::Http2Long, Self::Streamed];

    fn client(self, gateway: SocketAddr) -> Client {
        let client = match self {
            Self::Http1 | Self::Http1Long | Self::Streamed => Client::http1(gateway),
            Self::Http2 | Self::Http2Long => Client::h2c(gateway),
        };
        client.with_time_max(3 * DEADLINE)
    }

    fn body(self, topic: &str) -> Value {
        let mut body = completion(MODEL, &prompt(topic));
        match self {
            Self::Http1 | Self::Http2 => {}
            Self::Http1Long | Self::Http2Long => body["user"] = "u".repeat(LONG_BYTES).into(),
            Self::Streamed => body["stream"] = true.into(),
        }
        body
    }
}

/// Requests under way.
type Asked = Vec<JoinHandle<Result<Response, ClientError>>>;

/// Sends requests of each kind, each by a client of its own.
fn ask(gateway: SocketAddr, of_each: usize) -> Asked {
    let requests = (0..of_each).flat_map(|at| Kind::ALL.map(|kind| (kind, at)));
    requests
        .map(|(kind, at)| {
            let (client, body) = (kind.client(gateway), kind.body(&format!("held {kind:?} {at}")));
            tokio::spawn(async move { client.post_json(PATH, &body).await })
        })
        .collect()
}

/// Waits until the filter of an Envoy has counted so many held requests, all in all.
async fn wait_held(envoy: &Envoy, requests: usize) {
    let requests = u64::try_from(requests).unwrap();
    wait_counted(envoy, "held.endpoint", requests).await;
}

/// Waits for a counter of the filter.
async fn wait_counted(envoy: &Envoy, name: &str, count: u64) {
    let stat = format!("wasmcustom.warmpath.{name}");
    until(&format!("{count} of {name}"), async || {
        (envoy.admin().stat(&stat).await.unwrap() == count).then_some(())
    })
    .await
    .unwrap();
}

/// Waits until nothing is under way in an Envoy.
async fn wait_at_rest(envoy: &Envoy) {
    for gauge in ["http.gateway.downstream_rq_active", "cluster.engines.upstream_rq_active"] {
        until(&format!("{gauge} to be 0"), async || {
            (envoy.admin().stat(gauge).await.unwrap() == 0).then_some(())
        })
        .await
        .unwrap();
    }
}

/// Waits until the controller knows of so many held requests.
async fn wait_known(controller: SocketAddr, requests: u64) {
    let client = Client::http1(controller);
    until(&format!("the controller to know of {requests} held requests"), async || {
        let page = client.get("/metrics").await.ok()?.text();
        let of_pool = |line: &str| {
            line.starts_with("warmpath_controller_held_requests{") && line.contains("no_endpoint")
        };
        let line = page.lines().find(|line| of_pool(line))?;
        (line.rsplit(' ').next()?.parse() == Ok(requests)).then_some(())
    })
    .await
    .unwrap();
}

/// A pool that lets requests wait for an endpoint.
fn pool(endpoints: &[String], wait_s: u32) -> Value {
    json!([{
        "name": "main", "models": [MODEL], "endpoints": endpoints, "hold": { "endpoint_s": wait_s },
    }])
}
