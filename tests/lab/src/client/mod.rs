//! The client that measures: one streamed request, its times, its text, and what the engine says it cost.

mod sse;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Builder};
use hyper_util::rt::TokioExecutor;
use warmpath_engine::api::Protocol;

pub use self::sse::{Stream, Usage};

/// A client with a connection pool, as an application would keep one. Copies share the pool.
#[derive(Debug, Clone)]
pub struct Client {
    http: legacy::Client<HttpConnector, Full<Bytes>>,
}

/// What a stream told.
#[derive(Debug, Clone, PartialEq)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lost {
    /// No response at all.
    NoResponse,
    /// A response with another status than 200.
    Status(StatusCode),
    /// The connection broke in the middle of the stream.
    Cut,
    /// The stream ended without its end mark, its usage or any text.
    Incomplete,
}

impl Lost {
    /// The reason in a word.
    pub fn label(self) -> String {
        match self {
            Self::NoResponse => "no-response".to_owned(),
            Self::Status(status) => format!("status-{}", status.as_u16()),
            Self::Cut => "cut".to_owned(),
            Self::Incomplete => "incomplete".to_owned(),
        }
    }
}

impl Client {
    /// A client without connections.
    pub fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let mut builder: Builder = legacy::Client::builder(TokioExecutor::new());
        Self { http: builder.pool_max_idle_per_host(usize::MAX).build(connector) }
    }

    /// Sends a request that asks for a stream with usage, and hears it to its end.
    pub async fn ask(&self, gateway: SocketAddr, protocol: Protocol, body: Bytes) -> Result<Heard, Lost> {
        let request = Request::post(format!("http://{gateway}{}", path(protocol)))
            .header("content-type", "application/json")
            .body(Full::from(body))
            .map_err(|_| Lost::NoResponse)?;
        let begun = Instant::now();
        let response = self.http.request(request).await.map_err(|_| Lost::NoResponse)?;
        if response.status() != StatusCode::OK {
            return Err(Lost::Status(response.status()));
        }
        let engine = response.headers().get("x-engine").and_then(|name| name.to_str().ok());
        let engine = engine.unwrap_or_default().to_owned();
        let (mut stream, mut ttft) = (Stream::default(), None);
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.map_err(|_| Lost::Cut)?.into_data() {
                stream.feed(&data);
                if ttft.is_none() && !stream.text().is_empty() {
                    ttft = Some(begun.elapsed());
                }
            }
        }
        let e2e = begun.elapsed();
        let (text, usage) = stream.finish().ok_or(Lost::Incomplete)?;
        Ok(Heard { engine, ttft: ttft.ok_or(Lost::Incomplete)?, e2e, text, usage })
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
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
