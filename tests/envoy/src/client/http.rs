//! A client of one address over hyper, with a connection pool, in HTTP/1.1 or in HTTP/2 without TLS.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::{Response, Streaming};
use crate::wait::DEADLINE;

/// A client of one address.
#[derive(Debug, Clone)]
pub struct Client {
    address: SocketAddr,
    inner: legacy::Client<HttpConnector, Full<Bytes>>,
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
    /// The server was silent for longer than any test waits.
    #[error("no response in {} s", DEADLINE.as_secs())]
    Silent,
}

impl Client {
    /// Speaks HTTP/1.1.
    pub fn http1(address: SocketAddr) -> Self {
        Self { address, inner: legacy::Client::builder(TokioExecutor::new()).build_http() }
    }

    /// Speaks HTTP/2 from the first byte, without TLS or upgrade.
    pub fn h2c(address: SocketAddr) -> Self {
        Self { address, inner: legacy::Client::builder(TokioExecutor::new()).http2_only(true).build_http() }
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
        timeout(DEADLINE, whole).await.map_err(|_| ClientError::Silent)?
    }

    /// Sends a request and waits for the headers of the response.
    pub async fn open(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Streaming, ClientError> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).map_err(ClientError::Request)?;
        let sent = Instant::now();
        let response = timeout(DEADLINE, self.inner.request(request))
            .await
            .map_err(|_| ClientError::Silent)?
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

const JSON: (&str, &str) = ("content-type", "application/json");
