//! What the tests share: a controller in this process, proxies that speak the stream, engines that show
//! pages, and waiting for conditions.

mod engine;
mod proxy;

pub(crate) use engine::{Engine, Reply};
pub(crate) use proxy::Proxy;

use http::{Method, StatusCode};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use warmpath::config::{Listen, Pool, Scrape, Settings};
use warmpath_http::Client;

/// How long a condition may take to come true before the test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// Time between two looks at a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Settings with free ports, quick scrapes and one pool that takes any model.
pub(crate) fn settings(endpoints: &[SocketAddr]) -> Settings {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let mut settings = Settings::new(Listen { grpc: any, http: any });
    settings.scrape = Scrape {
        interval: Duration::from_millis(20),
        interval_min: Duration::from_millis(20),
        timeout: Duration::from_secs(2),
        unhealthy_after: 2,
    };
    settings.pools = vec![Pool {
        name: "main".to_owned(),
        models: vec!["*".to_owned()],
        endpoints: endpoints.iter().copied().map(Into::into).collect(),
        ..Pool::default()
    }];
    settings
}

/// Settings whose two endpoints are scraped so rarely that no status disturbs the test.
pub(crate) fn quiet_settings() -> Settings {
    let mut settings = settings(&["127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()]);
    settings.scrape.interval = Duration::from_mins(1);
    settings.scrape.unhealthy_after = 100;
    settings
}

/// Waits until `look` finds something.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "waited in vain until {what}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// GET over HTTP.
pub(crate) async fn get(address: SocketAddr, path: &str) -> (StatusCode, String) {
    ask(Method::GET, address, path, "").await
}

/// POST over HTTP.
pub(crate) async fn post(address: SocketAddr, path: &str, body: &str) -> (StatusCode, String) {
    ask(Method::POST, address, path, body).await
}

/// The value of a metric with the given labels, as they stand on the page; zero if it is not there.
pub(crate) async fn metric(address: SocketAddr, name: &str) -> f64 {
    let (_, page) = get(address, "/metrics").await;
    let name = format!("warmpath_controller_{name} ");
    page.lines().find_map(|line| line.strip_prefix(&name)).map_or(0.0, |value| value.parse().unwrap())
}

async fn ask(method: Method, address: SocketAddr, path: &str, body: &str) -> (StatusCode, String) {
    let response = Client::http1(address).send(method, path, &[], body.to_owned().into()).await.unwrap();
    (response.status, response.text())
}
