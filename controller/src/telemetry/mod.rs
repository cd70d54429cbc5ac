//! Telemetry: one scrape per engine and interval, whatever the number of proxies.
//!
//! ```text
//!   engine /metrics ─► scrape ─► page ─► engine (figures) ─► tracker (changes) ─► Hub::publish
//! ```
//!
//! One task for each endpoint, so that a slow engine delays nobody else and never has two scrapes at once.

mod engine;
mod page;
mod scrape;
mod tracker;

pub use engine::Figures;
pub use page::{Sample, samples};
pub use scrape::{Scraper, Source};
pub use tracker::{Failure, Outcome, Tracker};

use crate::config::{Scrape, Settings};
use crate::metrics::Metrics;
use crate::publish::Shared;
use fnv::FnvHashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use warmpath_core::ids::EndpointId;
use warmpath_core::wire::{Health, Kind};

/// First scrapes are spread over at most this time, so that readiness does not wait for a long interval.
const SPREAD_MAX: Duration = Duration::from_millis(500);

/// The scraping tasks of all endpoints.
#[derive(Debug)]
pub struct Telemetry {
    shared: Shared,
    metrics: Arc<Metrics>,
    scraper: Scraper,
    scrape: watch::Sender<Scrape>,
    tasks: FnvHashMap<SocketAddr, AbortHandle>,
    unseen: Arc<AtomicUsize>,
}

/// Counts one endpoint whose first scrape has not ended, for as long as it lives.
#[derive(Debug)]
struct Unseen(Arc<AtomicUsize>);

/// One endpoint's task.
#[derive(Debug)]
struct Target {
    address: SocketAddr,
    shared: Shared,
    metrics: Arc<Metrics>,
    scraper: Scraper,
    scrape: watch::Receiver<Scrape>,
    unseen: Option<Unseen>,
}

// === impl Telemetry ===

impl Telemetry {
    /// Nothing is scraped yet.
    pub fn new(shared: Shared, metrics: Arc<Metrics>) -> Self {
        Self {
            shared,
            metrics,
            scraper: Scraper::default(),
            scrape: watch::Sender::new(Scrape::default()),
            tasks: FnvHashMap::default(),
            unseen: Arc::default(),
        }
    }

    /// Scrapes the endpoints of `settings` from now on, and no others.
    pub fn follow(&mut self, settings: &Settings) {
        self.scrape.send_replace(settings.scrape);
        let mut stale = std::mem::take(&mut self.tasks);
        for address in settings.pools.iter().flat_map(|pool| &pool.endpoints) {
            let task = stale.remove(address).unwrap_or_else(|| self.start(*address));
            self.tasks.insert(*address, task);
        }
        for task in stale.into_values() {
            task.abort();
        }
    }

    /// Endpoints whose first scrape has not ended.
    pub fn unseen(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.unseen)
    }

    fn start(&self, address: SocketAddr) -> AbortHandle {
        self.unseen.fetch_add(1, Ordering::AcqRel);
        let target = Target {
            address,
            shared: self.shared.clone(),
            metrics: Arc::clone(&self.metrics),
            scraper: self.scraper.clone(),
            scrape: self.scrape.subscribe(),
            unseen: Some(Unseen(Arc::clone(&self.unseen))),
        };
        tokio::spawn(target.run()).abort_handle()
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        for task in self.tasks.values() {
            task.abort();
        }
    }
}

// === impl Target ===

impl Target {
    async fn run(mut self) {
        let id = EndpointId::of(&self.address.to_string());
        let mut tracker = Tracker::new(id.0);
        let mut source = Source::default();
        let mut health = Health::Unknown;
        let first = spread(id, self.scrape.borrow().interval.min(SPREAD_MAX));
        tokio::time::sleep(first).await;
        loop {
            let scrape = *self.scrape.borrow_and_update();
            let start = Instant::now();
            let outcome = self.scraper.scrape(self.address, &mut source, scrape.timeout).await;
            self.metrics.scrape_seconds.observe(start.elapsed().as_secs_f64());
            self.metrics.scrapes.get_or_create(&[("outcome", outcome.label())]).inc();
            for facts in tracker.step(outcome, scrape.unhealthy_after) {
                if facts.health() != health {
                    health = facts.health();
                    self.log(health, outcome);
                }
                self.shared.with(|hub, now_ms| hub.publish(Kind::Facts(facts), now_ms));
            }
            self.unseen = None;
            let rest = scrape.interval.saturating_sub(start.elapsed());
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                changed = self.scrape.changed() => if changed.is_err() { return },
            }
        }
    }

    fn log(&self, health: Health, outcome: Outcome) {
        let endpoint = self.address;
        match health {
            Health::Unhealthy => tracing::warn!(%endpoint, last = outcome.label(), "endpoint is unhealthy"),
            Health::Healthy => tracing::info!(%endpoint, last = outcome.label(), "endpoint is healthy"),
            Health::Unknown => {}
        }
    }
}

/// A place within `interval` that differs between endpoints and is always the same for one.
fn spread(id: EndpointId, interval: Duration) -> Duration {
    let permille = u32::try_from(id.0 % 1000).unwrap_or(0);
    interval * permille / 1000
}

// === impl Unseen ===

impl Drop for Unseen {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
