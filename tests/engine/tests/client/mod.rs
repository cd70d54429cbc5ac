//! A client over real sockets for the server tests: one connection a request, no retries, no pool.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    clippy::panic,
    reason = "a response that cannot be read fails the test; callers build the body in place"
)]

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use warmpath_engine::{EngineServer, Legs, State};
use warmpath_http::{ClientError, Connection, Events, JSON, Streaming};

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

// === impl Reply ===

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
        let mut all = Vec::new();
        Events::default().feed(&self.body, |data| {
            if data != b"[DONE]" {
                all.push(serde_json::from_slice(data).unwrap());
            }
        });
        all
    }
}

/// A response whose head has arrived and whose body is still to be read; dropping it closes the connection.
pub(crate) struct Open {
    pub(crate) response: Streaming,
    _connection: Connection,
}

// === impl Open ===

impl Open {
    /// The next piece of the body.
    pub(crate) async fn piece(&mut self) -> Bytes {
        self.response.next().await.unwrap().unwrap().bytes
    }

    pub(crate) async fn rest(mut self) -> Reply {
        let mut reply = Reply {
            status: self.response.status,
            headers: self.response.headers.clone(),
            body: Vec::new(),
            is_cut: false,
        };
        loop {
            match self.response.next().await {
                Ok(Some(chunk)) => reply.body.extend_from_slice(&chunk.bytes),
                Ok(None) => return reply,
                Err(_) => {
                    reply.is_cut = true;
                    return reply;
                }
            }
        }
    }
}

/// Posts and returns when the head of the response has arrived.
pub(crate) async fn open(addr: SocketAddr, path: &str, body: impl ToString) -> Result<Open, ClientError> {
    let mut connection = Connection::open(addr).await?;
    let response = connection.stream(Method::POST, path, &[JSON], body.to_string().into()).await?;
    Ok(Open { response, _connection: connection })
}

pub(crate) async fn post(engine: &EngineServer, path: &str, body: impl ToString) -> Reply {
    open(engine.addr(), path, body).await.unwrap().rest().await
}

pub(crate) async fn get(engine: &EngineServer, path: &str) -> Reply {
    let mut connection = Connection::open(engine.addr()).await.unwrap();
    let response = connection.stream(Method::GET, path, &[], Bytes::new()).await.unwrap();
    Open { response, _connection: connection }.rest().await
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

/// What an engine did in requests that two engines serve together.
pub(crate) fn legs(engine: &EngineServer) -> Legs {
    engine.state().legs
}

/// The responses without what differs from one to the next: ids and times.
pub(crate) fn essence(reply: &Reply) -> Vec<Value> {
    fn strip(value: &mut Value) {
        const MOVING: [&str; 9] =
            ["id", "created", "created_at", "item_id", "call_id", "usage", "response", "message", "item"];
        match value {
            Value::Object(fields) => {
                fields.retain(|name, _| !MOVING.contains(&name.as_str()) || name == "message");
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    assert_eq!(reply.status, 200, "{}", reply.text());
    let is_stream = reply.header("content-type").starts_with("text/event-stream");
    let mut values = if is_stream { reply.events() } else { vec![reply.json()] };
    values.iter_mut().for_each(strip);
    values
}
