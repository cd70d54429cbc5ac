//! One scrape of one engine over HTTP.

use super::engine::Reading;
use super::tracker::{Failure, Outcome};
use bytes::Bytes;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::net::SocketAddr;
use std::time::Duration;

/// The most bytes of a metrics page that are read: a vLLM page has 60 KB, and some 20 KB more for each rank.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The path of the metrics page.
const METRICS_PATH: &str = "/metrics";
/// The same for trtllm-serve, whose `/metrics` is a JSON list of iterations.
const TRTLLM_METRICS_PATH: &str = "/prometheus/metrics";
/// The path of every engine's health check.
const HEALTH_PATH: &str = "/health";
/// Kept connections that are idle longer are closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// Scrapes engines; copies share their connections.
#[derive(Clone, Debug)]
pub struct Scraper {
    client: Client<HttpConnector, Empty<Bytes>>,
}

/// The path of one engine's metrics, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// At `/metrics`.
    #[default]
    Usual,
    /// At the path of trtllm-serve.
    Trtllm,
}

/// An engine's response.
#[derive(Debug)]
enum Reply {
    Page(Bytes),
    Missing,
}

// === impl Scraper ===

impl Default for Scraper {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_idle_timeout(IDLE_TIMEOUT).pool_max_idle_per_host(1);
        Self { client: builder.build(connector) }
    }
}

impl Scraper {
    /// Scrapes one engine. `source` is the path to try first; it changes with the kind of engine.
    pub async fn scrape(&self, address: SocketAddr, source: &mut Source, timeout: Duration) -> Outcome {
        let scrape = tokio::time::timeout(timeout, self.look(address, source));
        scrape.await.unwrap_or(Err(Failure::Timeout)).unwrap_or_else(Outcome::Failed)
    }

    async fn look(&self, address: SocketAddr, source: &mut Source) -> Result<Outcome, Failure> {
        let mut reply = self.get(address, source.path()).await?;
        if *source == Source::Usual && matches!(&reply, Reply::Page(page) if is_json(page)) {
            *source = Source::Trtllm;
            reply = self.get(address, source.path()).await?;
        }
        if let Reply::Page(page) = reply {
            return Ok(Outcome::Page(Reading::of(&page)));
        }
        *source = Source::Usual;
        match self.get(address, HEALTH_PATH).await? {
            Reply::Page(_) => Ok(Outcome::Alive),
            Reply::Missing => Err(Failure::Status),
        }
    }

    async fn get(&self, address: SocketAddr, path: &'static str) -> Result<Reply, Failure> {
        let authority = address.to_string();
        let uri = Uri::builder().scheme("http").authority(authority).path_and_query(path).build();
        let response = self.client.get(uri.map_err(|_| Failure::Unreachable)?).await;
        let response = response.map_err(|_| Failure::Unreachable)?;
        let status = response.status();
        // The body is always read, so that the connection can be reused.
        let body = Limited::new(response.into_body(), PAGE_BYTES_MAX).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() { Failure::TooLarge } else { Failure::Unreachable }
        })?;
        match status {
            StatusCode::OK => Ok(Reply::Page(body.to_bytes())),
            StatusCode::NOT_FOUND => Ok(Reply::Missing),
            _ => Err(Failure::Status),
        }
    }
}

// === impl Source ===

impl Source {
    fn path(self) -> &'static str {
        match self {
            Self::Usual => METRICS_PATH,
            Self::Trtllm => TRTLLM_METRICS_PATH,
        }
    }
}

fn is_json(page: &[u8]) -> bool {
    matches!(page.trim_ascii_start().first(), Some(b'[' | b'{'))
}
