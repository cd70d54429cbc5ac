//! What a client gets: a whole response, or one that is read while it arrives.

use crate::ClientError;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// A response that has arrived.
#[derive(Clone, Debug)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its whole body.
    pub body: Bytes,
}

// === impl Response ===

impl Response {
    /// The body as text; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `Null` when it is not JSON, which no assertion on a field mistakes for success.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The value of a header, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A piece of a body, and when it came.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Since the request was sent.
    pub after: Duration,
    /// The piece.
    pub bytes: Bytes,
}

/// A response whose headers have arrived and whose body is on its way. Dropping it aborts the request.
#[derive(Debug)]
pub struct Streaming {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    sent: Instant,
    body: Incoming,
}

// === impl Streaming ===

impl Streaming {
    pub(crate) fn new(response: hyper::Response<Incoming>, sent: Instant) -> Self {
        let (parts, body) = response.into_parts();
        Self { status: parts.status, headers: parts.headers, sent, body }
    }

    /// The next piece of the body; `None` at its end. Trailers are skipped.
    pub async fn next(&mut self) -> Result<Option<Chunk>, ClientError> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(ClientError::Body)?;
            if let Ok(bytes) = frame.into_data() {
                return Ok(Some(Chunk { after: self.sent.elapsed(), bytes }));
            }
        }
        Ok(None)
    }

    /// How long ago the request was sent.
    pub fn elapsed(&self) -> Duration {
        self.sent.elapsed()
    }

    /// The value of a header, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// All pieces that are still to come.
    pub async fn rest(mut self) -> Result<Vec<Chunk>, ClientError> {
        let mut chunks = Vec::new();
        while let Some(chunk) = self.next().await? {
            chunks.push(chunk);
        }
        Ok(chunks)
    }

    /// The whole body, its times forgotten.
    pub async fn whole(self) -> Result<Response, ClientError> {
        let body = self.body.collect().await.map_err(ClientError::Body)?.to_bytes();
        Ok(Response { status: self.status, headers: self.headers, body })
    }
}
