//! One connection that is kept alive and sends one request after the other.

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::Method;
use std::net::SocketAddr;
use std::time::Duration;
use warmpath_http::{Connection, JSON};

/// Longest time for one request: far above what anything here takes, so that it is reached by a failure only.
const REQUEST_TIME_MAX: Duration = Duration::from_mins(1);

/// A connection.
#[derive(Debug)]
pub struct Client(Connection);

/// When the parts of an answer came, from the begin of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// The first byte of the body.
    pub first: Duration,
    /// The end.
    pub end: Duration,
}

// === impl Client ===

impl Client {
    /// Connects.
    pub async fn connect(gateway: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self(Connection::open(gateway).await?.with_time_max(REQUEST_TIME_MAX)))
    }

    /// Sends a chat and reads its response to the end; anything but 200 is an error.
    pub async fn post(&mut self, body: Bytes) -> anyhow::Result<Times> {
        tokio::time::timeout(REQUEST_TIME_MAX, self.exchange(body)).await.context("no response came")?
    }

    async fn exchange(&mut self, body: Bytes) -> anyhow::Result<Times> {
        let sent = self.0.stream(Method::POST, "/v1/chat/completions", &[JSON], body).await;
        let mut response = sent.context("a request was lost")?;
        let (status, mut first, mut refusal) = (response.status, None, Vec::new());
        while let Some(chunk) = response.next().await.context("a response broke off")? {
            first.get_or_insert(chunk.after);
            if status != 200 {
                refusal.extend(chunk.bytes);
            }
        }
        ensure!(status == 200, "a request got {status}: {}", String::from_utf8_lossy(&refusal));
        let end = response.elapsed();
        Ok(Times { first: first.unwrap_or(end), end })
    }
}
