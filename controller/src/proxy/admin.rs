//! Envoy's admin page in the same pod.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioExecutor;
use std::time::Duration;
use thiserror::Error;

/// The most bytes of a page that are read: all pages that are asked for here are short.
const PAGE_BYTES_MAX: usize = 64 * 1024;
/// The page is in the same pod: it responds at once, or Envoy hangs.
const RESPONSE_S_MAX: Duration = Duration::from_secs(2);

/// The admin page of one Envoy.
#[derive(Clone, Debug)]
pub struct Admin {
    url: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// Why there is no page.
#[derive(Debug, Error)]
pub enum AdminError {
    /// The address is none.
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
    /// There was none in time.
    #[error("{url} does not respond")]
    Silent {
        /// The address.
        url: String,
    },
    /// The page is cut short, or too long.
    #[error("cannot read {url}")]
    Broken {
        /// The address.
        url: String,
        /// The reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

// === impl Admin ===

impl Admin {
    /// The admin page at this URL, such as `http://127.0.0.1:9901`.
    pub fn new(url: &str) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { url: url.trim_end_matches('/').to_owned(), client }
    }

    /// A page: its status and text.
    pub async fn page(&self, method: Method, path: &str) -> Result<(StatusCode, String), AdminError> {
        let url = format!("{}{path}", self.url);
        match tokio::time::timeout(RESPONSE_S_MAX, self.request(method, &url)).await {
            Ok(page) => page,
            Err(_) => Err(AdminError::Silent { url }),
        }
    }

    /// A counter or gauge; `None` while Envoy has not counted it.
    pub async fn stat(&self, name: &str) -> Result<Option<u64>, AdminError> {
        let path = format!("/stats?filter=^{}$", name.replace('.', "\\."));
        let (_, text) = self.page(Method::GET, &path).await?;
        Ok(value(&text, name))
    }

    async fn request(&self, method: Method, url: &str) -> Result<(StatusCode, String), AdminError> {
        let url = url.to_owned();
        let request = Request::builder().method(method).uri(&url).body(Full::default());
        let request = request.map_err(|source| AdminError::Url { url: url.clone(), source })?;
        let response = self.client.request(request).await;
        let response = response.map_err(|source| AdminError::Unreachable { url: url.clone(), source })?;
        let status = response.status();
        let body = Limited::new(response.into_body(), PAGE_BYTES_MAX).collect().await;
        let body = body.map_err(|source| AdminError::Broken { url, source })?;
        Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
    }
}

/// The value of a line `name: value`.
fn value(text: &str, name: &str) -> Option<u64> {
    let of_line = |line: &str| line.strip_prefix(name)?.strip_prefix(": ")?.trim().parse().ok();
    text.lines().find_map(of_line)
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn a_value_is_that_of_the_whole_name() {
        let text = "http.gateway.downstream_rq_active: 3\nhttp.gateway.downstream_rq_active_more: 7\n";
        assert_eq!(value(text, "http.gateway.downstream_rq_active"), Some(3));
        assert_eq!(value(text, "http.gateway.downstream_rq"), None);
        assert_eq!(value("", "anything"), None);
    }
}
