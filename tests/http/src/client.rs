//! A client of one address over hyper, with a connection pool, in HTTP/1.1 or in HTTP/2 without TLS.

use crate::{JSON, RESPONSE_TIME_MAX, Response, Streaming, request};
use bytes::Bytes;
use http::Method;
use http_body_util::Full;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// A client of one address.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
    inner: legacy::Client<HttpConnector, Full<Bytes>>,
    time_max: Duration,
}

/// A request that got no response.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The method, path or headers make no request.
    #[error("not a request")]
    Request(#[source] http::Error),
    /// Nothing came back.
    #[error("no response")]
    Exchange(#[source] legacy::Error),
    /// There is no connection, or it is gone.
    #[error("no connection")]
    Connection(#[source] hyper::Error),
    /// There is no connection at all.
    #[error("not connected")]
    Connect(#[source] std::io::Error),
    /// The response broke off.
    #[error("the body of the response broke off")]
    Body(#[source] hyper::Error),
    /// The server was silent for longer than the client waits.
    #[error("no response in {} s", .0.as_secs())]
    Silent(Duration),
}

// === impl Client ===

impl Client {
    /// Speaks HTTP/1.1.
    pub fn http1(address: SocketAddr) -> Self {
        Self::new(address, false)
    }

    /// Speaks HTTP/2 from the first byte, without TLS or upgrade.
    pub fn h2c(address: SocketAddr) -> Self {
        Self::new(address, true)
    }

    fn new(address: SocketAddr, is_http2: bool) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let inner = legacy::Client::builder(TokioExecutor::new()).http2_only(is_http2).build(connector);
        Self { address, inner, time_max: RESPONSE_TIME_MAX }
    }

    /// Waits for each response so long.
    #[must_use]
    pub fn with_time_max(self, time_max: Duration) -> Self {
        Self { time_max, ..self }
    }

    /// The address it talks to.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Sends a request and waits for the whole response.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response, ClientError> {
        let whole = async { self.open(method, path, headers, body).await?.whole().await };
        timeout(self.time_max, whole).await.map_err(|_| ClientError::Silent(self.time_max))?
    }

    /// Sends a request and waits for the headers of the response.
    pub async fn open(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Streaming, ClientError> {
        let request = request(method, &format!("http://{}{path}", self.address), headers, body)?;
        let sent = Instant::now();
        let response = timeout(self.time_max, self.inner.request(request))
            .await
            .map_err(|_| ClientError::Silent(self.time_max))?
            .map_err(ClientError::Exchange)?;
        Ok(Streaming::new(response, sent))
    }

    /// A GET.
    pub async fn get(&self, path: &str) -> Result<Response, ClientError> {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    /// A POST of JSON.
    pub async fn post_json(&self, path: &str, body: &Value) -> Result<Response, ClientError> {
        self.post_json_with(path, &[], body).await
    }

    /// A POST of JSON with more headers.
    pub async fn post_json_with(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<Response, ClientError> {
        let headers: Vec<_> = [JSON].iter().chain(headers).copied().collect();
        self.send(Method::POST, path, &headers, body.to_string().into()).await
    }

    /// A POST of JSON whose response is read while it arrives.
    pub async fn stream_json(&self, path: &str, body: &Value) -> Result<Streaming, ClientError> {
        self.open(Method::POST, path, &[JSON], body.to_string().into()).await
    }
}
