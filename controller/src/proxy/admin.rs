//! Envoy's admin page in the same pod.

use crate::web::{self, Bounds, WebError};
use http::{Method, StatusCode};
use std::time::Duration;

/// The page is in the same pod, so it responds at once unless Envoy is busy. All pages that are requested here are short.
const BOUNDS: Bounds = Bounds { time_max: Duration::from_secs(2), bytes_max: 64 * 1024 };

/// The admin page of one Envoy.
#[derive(Clone, Debug)]
pub struct Admin {
    url: String,
    bounds: Bounds,
}

// === impl Admin ===

impl Admin {
    /// The admin page at this URL, such as `http://127.0.0.1:9901`.
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), bounds: BOUNDS }
    }

    /// Makes Envoy fail its readiness and drain its listeners.
    pub async fn fail_readiness(&self) -> Result<(), WebError> {
        self.page(Method::POST, "/healthcheck/fail").await.map(drop)
    }

    /// Whether Envoy is ready, and the name of its state.
    pub async fn ready(&self) -> Result<(bool, String), WebError> {
        let reply = web::request(Method::GET, &self.url, "/ready", self.bounds).await?;
        let state = String::from_utf8_lossy(&reply.body).trim().to_owned();
        Ok((reply.status == StatusCode::OK, state))
    }

    /// A counter or gauge; `None` while Envoy has not counted it.
    pub async fn stat(&self, name: &str) -> Result<Option<u64>, WebError> {
        let path = format!("/stats?filter=^{}$", name.replace('.', "\\."));
        Ok(value(&self.page(Method::GET, &path).await?, name))
    }

    /// A page, which must have the status 200.
    async fn page(&self, method: Method, path: &str) -> Result<String, WebError> {
        let reply = web::request(method, &self.url, path, self.bounds).await?;
        if reply.status != StatusCode::OK {
            return Err(WebError::Refused { url: web::url(&self.url, path), status: reply.status });
        }
        Ok(String::from_utf8_lossy(&reply.body).into_owned())
    }

    #[cfg(test)]
    pub(super) fn with_time_max(self, time_max: Duration) -> Self {
        Self { bounds: Bounds { time_max, ..self.bounds }, ..self }
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
