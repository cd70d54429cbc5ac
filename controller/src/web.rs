//! HTTP requests of the commands: to a controller, a proxy, or Envoy's admin page.
//!
//! Plain HTTP, one request at a time, with a bound on its time and on its response.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioExecutor;
use std::time::Duration;
use thiserror::Error;

/// How long a request may take: Envoy's admin page works in the main thread, which a large configuration keeps busy for a
/// while.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

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
    #[error("{url} did not respond within {} s", REQUEST_TIMEOUT.as_secs())]
    Timeout {
        /// The address.
        url: String,
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

/// Requests `path` of a server; the response may have `bytes_max` bytes.
pub async fn get(base: &str, path: &str, bytes_max: usize) -> Result<Reply, WebError> {
    let url = url(base, path);
    let request = Uri::try_from(&url)
        .map_err(http::Error::from)
        .and_then(|uri| Request::builder().method(Method::GET).uri(uri).body(Full::default()))
        .map_err(|source| WebError::Url { url: url.clone(), source })?;
    send(url, request, bytes_max).await
}

/// The address of a server and a path as a URL. People write `localhost:9901`, too.
pub fn url(base: &str, path: &str) -> String {
    let scheme = if base.contains("://") { "" } else { "http://" };
    format!("{scheme}{}{path}", base.trim_end_matches('/'))
}

/// Sends a request, for which `url` stands in errors.
pub async fn send(url: String, request: Request<Full<Bytes>>, bytes_max: usize) -> Result<Reply, WebError> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let exchange = async {
        let response = client.request(request).await;
        let response = response.map_err(|source| WebError::Unreachable { url: url.clone(), source })?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, bytes_max).collect().await;
        let body = body.map_err(|source| WebError::Broken { url: url.clone(), source })?;
        Ok(Reply { status: parts.status, headers: parts.headers, body: body.to_bytes() })
    };
    let replied = tokio::time::timeout(REQUEST_TIMEOUT, exchange).await;
    replied.unwrap_or_else(|_| Err(WebError::Timeout { url: url.clone() }))
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
