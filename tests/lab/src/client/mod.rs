//! The client that measures: one streamed request, its times, its text, and what the engine says it cost.

mod sse;

use bytes::Bytes;
use http::{Method, StatusCode};
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;
use warmpath_engine::api::Protocol;
use warmpath_http::JSON;

pub use self::sse::{Stream, Usage};

/// Longest wait for the head of a response: an arm that queues for minutes is slow, and loses nothing.
const HEAD_TIME_MAX: Duration = Duration::from_hours(1);

/// A client of a gateway with a connection pool, as an application would keep one. Copies share the pool.
#[derive(Clone, Debug)]
pub struct Client {
    http: warmpath_http::Client,
}

/// What a stream told.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// The engine that answered.
    pub engine: String,
    /// From the start of sending to the first piece of text, on the wall clock.
    pub ttft: Duration,
    /// From the start of sending to the end of the stream, on the wall clock.
    pub e2e: Duration,
    /// The answer.
    pub text: String,
    /// The engine's count of tokens.
    pub usage: Usage,
}

/// Why a request counts as lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lost {
    /// No response at all.
    NoResponse,
    /// A response with another status than 200.
    Status(StatusCode),
    /// The same, with the seconds after which to ask again.
    Refused(StatusCode, u16),
    /// The connection broke in the middle of the stream.
    Cut,
    /// The stream ended without its end mark, its usage or any text.
    Incomplete,
}

// === impl Lost ===

impl Lost {
    /// The reason in a word.
    pub fn label(self) -> String {
        match self {
            Self::NoResponse => "no-response".to_owned(),
            Self::Status(status) | Self::Refused(status, _) => format!("status-{}", status.as_u16()),
            Self::Cut => "cut".to_owned(),
            Self::Incomplete => "incomplete".to_owned(),
        }
    }
}

// === impl Client ===

impl Client {
    /// A client without connections.
    pub fn new(gateway: SocketAddr) -> Self {
        Self { http: warmpath_http::Client::http1(gateway).with_time_max(HEAD_TIME_MAX) }
    }

    /// Sends a request that asks for a stream with usage, and reads it to its end.
    pub async fn ask(&self, protocol: Protocol, body: Bytes) -> Result<Heard, Lost> {
        self.ask_noting(protocol, body, &OnceLock::new()).await
    }

    /// The same; `first` is set as soon as the first piece of text is there.
    pub async fn ask_noting(
        &self,
        protocol: Protocol,
        body: Bytes,
        first: &OnceLock<()>,
    ) -> Result<Heard, Lost> {
        let sent = self.http.open(Method::POST, path(protocol), &[JSON], body).await;
        let mut response = sent.map_err(|_| Lost::NoResponse)?;
        if response.status != StatusCode::OK {
            let again_s = response.header("retry-after").and_then(|seconds| seconds.parse().ok());
            return Err(again_s
                .map_or(Lost::Status(response.status), |seconds| Lost::Refused(response.status, seconds)));
        }
        let engine = response.header("x-engine").unwrap_or_default().to_owned();
        let (mut stream, mut ttft) = (Stream::default(), None);
        while let Some(chunk) = response.next().await.map_err(|_| Lost::Cut)? {
            stream.feed(&chunk.bytes);
            if ttft.is_none() && !stream.text().is_empty() {
                ttft = Some(chunk.after);
                let _ = first.set(());
            }
        }
        let e2e = response.elapsed();
        let (text, usage) = stream.finish().ok_or(Lost::Incomplete)?;
        Ok(Heard { engine, ttft: ttft.ok_or(Lost::Incomplete)?, e2e, text, usage })
    }
}

/// Where a protocol's requests go.
pub fn path(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Completions => "/v1/completions",
        Protocol::Chat => "/v1/chat/completions",
        Protocol::Responses => "/v1/responses",
        Protocol::Messages => "/v1/messages",
    }
}
