//! One scrape of one engine over HTTP.

use super::engine::Figures;
use super::tracker::{Failure, Outcome};
use bytes::Bytes;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::net::SocketAddr;
use std::time::Duration;

/// Bytes of a metrics page that are read: a vLLM page has 60 KB, and some 20 KB more for each rank.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Where engines show their metrics.
const METRICS_PATH: &str = "/metrics";
/// Where trtllm-serve does; its `/metrics` is a JSON list of iterations.
const TRTLLM_METRICS_PATH: &str = "/prometheus/metrics";
/// Where every engine says whether it is up.
const HEALTH_PATH: &str = "/health";
/// Kept connections that are idle longer are closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// Scrapes engines; copies share their connections.
#[derive(Clone, Debug)]
pub struct Scraper {
    client: Client<HttpConnector, Empty<Bytes>>,
}

/// Where one engine shows its metrics, as far as is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// At `/metrics`.
    #[default]
    Usual,
    /// Where trtllm-serve has it.
    Trtllm,
}

/// What an engine answered.
#[derive(Debug)]
enum Answer {
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
    /// Scrapes one engine. `source` is where to look; it changes when the engine turns out to be another.
    pub async fn scrape(&self, address: SocketAddr, source: &mut Source, timeout: Duration) -> Outcome {
        let scrape = tokio::time::timeout(timeout, self.look(address, source));
        scrape.await.unwrap_or(Err(Failure::Timeout)).unwrap_or_else(Outcome::Failed)
    }

    async fn look(&self, address: SocketAddr, source: &mut Source) -> Result<Outcome, Failure> {
        let mut answer = self.get(address, source.path()).await?;
        if *source == Source::Usual && matches!(&answer, Answer::Page(page) if is_json(page)) {
            *source = Source::Trtllm;
            answer = self.get(address, source.path()).await?;
        }
        if let Answer::Page(page) = answer {
            return Ok(Outcome::Page(Figures::read(&page)));
        }
        *source = Source::Usual;
        match self.get(address, HEALTH_PATH).await? {
            Answer::Page(_) => Ok(Outcome::Alive),
            Answer::Missing => Err(Failure::Status),
        }
    }

    async fn get(&self, address: SocketAddr, path: &'static str) -> Result<Answer, Failure> {
        let authority = address.to_string();
        let uri = Uri::builder().scheme("http").authority(authority).path_and_query(path).build();
        let response = self.client.get(uri.map_err(|_| Failure::Unreachable)?).await;
        let response = response.map_err(|_| Failure::Unreachable)?;
        let status = response.status();
        // The body is read in any case, so that the connection can be used again.
        let body = Limited::new(response.into_body(), PAGE_BYTES_MAX).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() { Failure::TooLarge } else { Failure::Unreachable }
        })?;
        match status {
            StatusCode::OK => Ok(Answer::Page(body.to_bytes())),
            StatusCode::NOT_FOUND => Ok(Answer::Missing),
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
