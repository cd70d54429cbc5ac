//! Envoy's admin page in the same pod.

use crate::web::{self, Bounds, WebError};
use http::{Method, StatusCode};
use std::time::Duration;

/// The page is in the same pod: it responds at once, or Envoy hangs. All pages that are asked for here are short.
const BOUNDS: Bounds = Bounds { time_max: Duration::from_secs(2), bytes_max: 64 * 1024 };

/// The admin page of one Envoy.
#[derive(Clone, Debug)]
pub struct Admin {
    url: String,
}

// === impl Admin ===

impl Admin {
    /// The admin page at this URL, such as `http://127.0.0.1:9901`.
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned() }
    }

    /// A page: its status and text.
    pub async fn page(&self, method: Method, path: &str) -> Result<(StatusCode, String), WebError> {
        let reply = web::request(method, &self.url, path, BOUNDS).await?;
        Ok((reply.status, String::from_utf8_lossy(&reply.body).into_owned()))
    }

    /// A counter or gauge; `None` while Envoy has not counted it.
    pub async fn stat(&self, name: &str) -> Result<Option<u64>, WebError> {
        let path = format!("/stats?filter=^{}$", name.replace('.', "\\."));
        let (_, text) = self.page(Method::GET, &path).await?;
        Ok(value(&text, name))
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
