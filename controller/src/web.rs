//! HTTP requests to a controller, a proxy, or Envoy's admin page: from the commands, and from one replica to another.
//!
//! Plain HTTP, one request at a time, with bounds on its time and on its response.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use std::time::Duration;
use thiserror::Error;

/// How long a request may take by default: Envoy's admin page works in the main thread, which a large configuration keeps busy
/// for a while.
const TIME_MAX_DEFAULT: Duration = Duration::from_secs(15);

/// What one request may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Until the response is there as a whole.
    pub time_max: Duration,
    /// The size of its body.
    pub bytes_max: usize,
}

/// Why there is no response.
#[derive(Debug, Error)]
pub enum WebError {
    /// The address or the path is invalid.
    #[error("invalid URL `{url}`")]
    Url {
        /// The given text.
        url: String,
        /// The reason.
        source: http::Error,
    },
    /// There was no response.
    #[error("cannot reach {url}")]
    Unreachable {
        /// The address.
        url: String,
        /// The reason.
        source: ClientError,
    },
    /// The response broke off, or is too long.
    #[error("cannot read the response of {url}")]
    Broken {
        /// The address.
        url: String,
        /// The reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It took too long.
    #[error("{url} did not respond within {} s", time_max.as_secs())]
    Timeout {
        /// The address.
        url: String,
        /// How long it had.
        time_max: Duration,
    },
    /// The response is an error.
    #[error("{url}: {status}")]
    Refused {
        /// The address.
        url: String,
        /// The response's status.
        status: StatusCode,
    },
    /// The response is not what this server's pages look like.
    #[error("{url} is not a page of {of}")]
    Foreign {
        /// The address.
        url: String,
        /// Whose page it should be.
        of: &'static str,
        /// The reason.
        source: serde_json::Error,
    },
}

/// A response.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

// === impl Bounds ===

impl Bounds {
    /// So many bytes, in the usual time.
    pub const fn bytes(bytes_max: usize) -> Self {
        Self { time_max: TIME_MAX_DEFAULT, bytes_max }
    }
}

/// Requests `path` of a server, whatever the response's status is.
pub async fn request(method: Method, base: &str, path: &str, bounds: Bounds) -> Result<Reply, WebError> {
    let url = url(base, path);
    let request = Request::builder().method(method).uri(&url).body(Full::default());
    let request = request.map_err(|source| WebError::Url { url: url.clone(), source })?;
    send(url, request, bounds).await
}

/// Gets the body of `path`.
pub async fn page(base: &str, path: &str, bounds: Bounds) -> Result<Bytes, WebError> {
    let reply = request(Method::GET, base, path, bounds).await?;
    if reply.status == StatusCode::OK {
        Ok(reply.body)
    } else {
        Err(WebError::Refused { url: url(base, path), status: reply.status })
    }
}

/// Gets `path` as JSON; `of` says whose page it should be.
pub async fn json<T: DeserializeOwned>(
    base: &str,
    path: &str,
    bounds: Bounds,
    of: &'static str,
) -> Result<T, WebError> {
    let body = page(base, path, bounds).await?;
    serde_json::from_slice(&body).map_err(|source| WebError::Foreign { url: url(base, path), of, source })
}

/// The address of a server and a path as a URL. People write `localhost:9901`, too.
pub fn url(base: &str, path: &str) -> String {
    let scheme = if base.contains("://") { "" } else { "http://" };
    format!("{scheme}{}{path}", base.trim_end_matches('/'))
}

/// Sends a request, for which `url` stands in errors.
pub async fn send(url: String, request: Request<Full<Bytes>>, bounds: Bounds) -> Result<Reply, WebError> {
    let Bounds { time_max, bytes_max } = bounds;
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let exchange = async {
        let response = client.request(request).await;
        let response = response.map_err(|source| WebError::Unreachable { url: url.clone(), source })?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, bytes_max).collect().await;
        let body = body.map_err(|source| WebError::Broken { url: url.clone(), source })?;
        Ok(Reply { status: parts.status, headers: parts.headers, body: body.to_bytes() })
    };
    let replied = tokio::time::timeout(time_max, exchange).await;
    replied.unwrap_or_else(|_| Err(WebError::Timeout { url: url.clone(), time_max }))
}

#[cfg(test)]
mod tests {
    use super::url;

    #[test]
    fn an_address_may_lack_its_scheme() {
        assert_eq!(url("localhost:9901", "/stats"), "http://localhost:9901/stats");
        assert_eq!(url("http://[::1]:1/", "/stats"), "http://[::1]:1/stats");
    }
}
