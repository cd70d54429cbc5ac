//! The controller of an arm, in this process.

use anyhow::Context;
use std::net::SocketAddr;
use std::time::Duration;
use warmpath::config::{Listen, Pool, Scrape, Settings};
use warmpath::run::{self, Running};

/// The pool of all engines.
pub const POOL: &str = "demo";

/// Scraping eight engines more often than this would take a noticeable part of a small machine.
const SCRAPE_INTERVAL_MIN: Duration = Duration::from_millis(40);

/// Starts a controller for engines that run `time_scale` times faster than real.
pub async fn start_controller(
    grpc: SocketAddr,
    http: SocketAddr,
    time_scale: f64,
    engines: &[SocketAddr],
) -> anyhow::Result<Running> {
    let mut settings = Settings::new(Listen { grpc, http });
    settings.scrape = scrape(time_scale);
    settings.pools = vec![Pool {
        name: POOL.to_owned(),
        models: vec!["*".to_owned()],
        endpoints: engines.iter().copied().map(Into::into).collect(),
        ..Pool::default()
    }];
    run::start(settings).await.context("cannot start the controller")
}

/// Engines that run faster change faster: scraped at the usual interval, in model time.
pub fn scrape(time_scale: f64) -> Scrape {
    let usual = Scrape::default();
    let interval = if time_scale > 1.0 { usual.interval.div_f64(time_scale) } else { usual.interval };
    Scrape { interval: interval.max(SCRAPE_INTERVAL_MIN), ..usual }
}
