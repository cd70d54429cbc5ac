//! A client over real sockets for the server tests: one connection a request, no retries, no pool.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    reason = "a response that cannot be read fails the test; callers build the body in place"
)]

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use warmpath_engine::{EngineServer, State};

/// Longest that any condition may take to come true; far above what it takes.
const CONDITION_TIME_MAX: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// A whole response, or as much of it as arrived before the connection broke.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) is_cut: bool,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The `data:` of each server-sent event that is JSON.
    pub(crate) fn events(&self) -> Vec<Value> {
        let data = self.text().lines().filter_map(|line| line.strip_prefix("data: "));
        data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
    }
}

/// A response whose head has arrived and whose body is still to be read; dropping it closes the connection.
pub(crate) struct Open {
    pub(crate) response: hyper::Response<hyper::body::Incoming>,
    connection: tokio::task::JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Open {
    /// The next piece of the body.
    pub(crate) async fn piece(&mut self) -> Bytes {
        self.response.frame().await.unwrap().unwrap().into_data().unwrap()
    }

    pub(crate) async fn rest(mut self) -> Reply {
        let mut reply = Reply {
            status: self.response.status(),
            headers: self.response.headers().clone(),
            body: Vec::new(),
            is_cut: false,
        };
        while let Some(frame) = self.response.frame().await {
            let Ok(frame) = frame else {
                reply.is_cut = true;
                break;
            };
            reply.body.extend_from_slice(&frame.into_data().unwrap());
        }
        reply
    }
}

/// Sends a request and returns when the head of the response has arrived.
pub(crate) async fn open(addr: SocketAddr, request: Request<Full<Bytes>>) -> anyhow::Result<Open> {
    let stream = TcpStream::connect(addr).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(async move {
        let _ = connection.await;
    });
    let response = sender.send_request(request).await?;
    Ok(Open { response, connection })
}

pub(crate) fn post_request(path: &str, body: impl ToString) -> Request<Full<Bytes>> {
    let builder = Request::post(path).header("host", "engine").header("content-type", "application/json");
    builder.body(Full::from(body.to_string())).unwrap()
}

pub(crate) async fn post(engine: &EngineServer, path: &str, body: impl ToString) -> Reply {
    open(engine.addr(), post_request(path, body)).await.unwrap().rest().await
}

pub(crate) async fn get(engine: &EngineServer, path: &str) -> Reply {
    let request = Request::get(path).header("host", "engine").body(Full::default()).unwrap();
    open(engine.addr(), request).await.unwrap().rest().await
}

/// Waits until the engine's numbers satisfy a condition.
#[track_caller]
pub(crate) fn eventually(
    engine: &EngineServer,
    holds: impl Fn(&State) -> bool,
) -> impl Future<Output = State> {
    let caller = std::panic::Location::caller();
    async move {
        let deadline = tokio::time::Instant::now() + CONDITION_TIME_MAX;
        loop {
            let state = engine.state();
            if holds(&state) {
                return state;
            }
            assert!(tokio::time::Instant::now() < deadline, "not reached at {caller}: {state:?}");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}
