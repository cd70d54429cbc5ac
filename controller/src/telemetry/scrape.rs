//! One scrape of one engine over HTTP.

use super::engine::Reading;
use super::latency::Latencies;
use super::tracker::{Failure, Outcome, Scraped};
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{HttpConnector, HttpInfo};
use hyper_util::rt::TokioExecutor;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The most bytes of a metrics page that are read: a vLLM page has 60 KB, and some 20 KB more for each rank.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Redirects that are followed: a server that mounts its metrics as an application of its own has one.
const REDIRECTS_MAX: usize = 3;
/// The path of the metrics page.
const METRICS_PATH: &str = "/metrics";
/// The same for trtllm-serve, whose `/metrics` is a JSON list of iterations.
const TRTLLM_METRICS_PATH: &str = "/prometheus/metrics";
/// The path of every engine's health check.
const HEALTH_PATH: &str = "/health";
/// The path of every engine's list of models.
pub(super) const MODELS_PATH: &str = "/v1/models";
/// Kept connections that are idle longer are closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// Scrapes engines; copies share their connections.
#[derive(Clone, Debug)]
pub(crate) struct Scraper {
    client: Client<HttpConnector, Empty<Bytes>>,
}

/// The path of one engine's metrics, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Source {
    /// At `/metrics`.
    #[default]
    Usual,
    /// At the path of trtllm-serve.
    Trtllm,
    /// Where `/metrics` redirects to, on the same host.
    Moved(PathAndQuery),
}

/// An engine's response.
#[derive(Debug)]
enum Reply {
    Page(Bytes),
    Moved(PathAndQuery),
    /// Another status, a redirect to another host, or a body beyond the limit.
    Other,
}

/// One scrape's requests.
#[derive(Debug)]
struct Look<'a> {
    client: &'a Client<HttpConnector, Empty<Bytes>>,
    address: SocketAddr,
    connection: Option<SocketAddr>,
    latencies: Option<Arc<Latencies>>,
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
    pub(super) async fn scrape(
        &self,
        address: SocketAddr,
        source: &mut Source,
        timeout: Duration,
    ) -> Scraped {
        let mut look = Look { client: &self.client, address, connection: None, latencies: None };
        let outcome = tokio::time::timeout(timeout, look.look(source)).await;
        let outcome = outcome.unwrap_or(Err(Failure::Timeout)).unwrap_or_else(Outcome::Failed);
        Scraped { outcome, connection: look.connection, latencies: look.latencies }
    }

    /// The page at a path, if there is one.
    pub(crate) async fn page(
        &self,
        address: SocketAddr,
        path: &'static str,
        timeout: Duration,
    ) -> Option<Bytes> {
        let mut look = Look { client: &self.client, address, connection: None, latencies: None };
        let get = look.get(PathAndQuery::from_static(path));
        match tokio::time::timeout(timeout, get).await {
            Ok(Ok(Reply::Page(page))) => Some(page),
            _ => None,
        }
    }
}

// === impl Look ===

impl Look<'_> {
    async fn look(&mut self, source: &mut Source) -> Result<Outcome, Failure> {
        for _ in 0..=REDIRECTS_MAX {
            match self.get(source.path()).await? {
                Reply::Page(page) if *source == Source::Usual && is_json(&page) => *source = Source::Trtllm,
                Reply::Page(page) => {
                    let (reading, latencies) = Reading::with_latencies(&page);
                    self.latencies = Some(Arc::new(latencies));
                    return Ok(Outcome::Page(reading));
                }
                Reply::Moved(path) => *source = Source::Moved(path),
                Reply::Other => break,
            }
        }
        *source = Source::Usual;
        match self.get(PathAndQuery::from_static(HEALTH_PATH)).await? {
            Reply::Page(_) => Ok(Outcome::Alive),
            Reply::Moved(_) | Reply::Other => Err(Failure::Status),
        }
    }

    async fn get(&mut self, path: PathAndQuery) -> Result<Reply, Failure> {
        let authority = self.address.to_string();
        let uri = Uri::builder().scheme("http").authority(authority.as_str()).path_and_query(path).build();
        let uri = uri.map_err(|_| Failure::Unreachable)?;
        let response = self.client.get(uri).await.map_err(|error| unreachable(&error))?;
        self.connection = response.extensions().get::<HttpInfo>().map(HttpInfo::local_addr);
        let (head, body) = response.into_parts();
        // The body is always read, so that the connection can be reused.
        let Ok(body) = Limited::new(body, PAGE_BYTES_MAX).collect().await else { return Ok(Reply::Other) };
        Ok(match head.status {
            StatusCode::OK => Reply::Page(body.to_bytes()),
            status if status.is_redirection() => {
                moved(&head.headers, &authority).map_or(Reply::Other, Reply::Moved)
            }
            _ => Reply::Other,
        })
    }
}

// === impl Source ===

impl Source {
    fn path(&self) -> PathAndQuery {
        match self {
            Self::Usual => PathAndQuery::from_static(METRICS_PATH),
            Self::Trtllm => PathAndQuery::from_static(TRTLLM_METRICS_PATH),
            Self::Moved(path) => path.clone(),
        }
    }
}

/// Where a redirect leads to, if that is on the same host: an engine must not send the controller elsewhere.
fn moved(headers: &HeaderMap, authority: &str) -> Option<PathAndQuery> {
    let location: Uri = headers.get(header::LOCATION)?.to_str().ok()?.parse().ok()?;
    let is_here = location.authority().is_none_or(|of| of.as_str() == authority);
    let is_plain = location.scheme_str().is_none_or(|scheme| scheme == "http");
    location.path_and_query().filter(|_| is_here && is_plain).cloned()
}

fn unreachable(error: &(dyn std::error::Error + 'static)) -> Failure {
    let mut source = Some(error);
    while let Some(error) = source {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused) {
            return Failure::Refused;
        }
        source = error.source();
    }
    Failure::Unreachable
}

fn is_json(page: &[u8]) -> bool {
    matches!(page.trim_ascii_start().first(), Some(b'[' | b'{'))
}
