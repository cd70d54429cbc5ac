//! Telemetry: one scrape per engine and interval, whatever the number of proxies.
//!
//! ```text
//!   engine /metrics ─► scrape ─► page ─► engine (status) ─► tracker (changes) ─► Hub::publish
//! ```
//!
//! Each endpoint has its own task, so that a slow engine delays no other and never has two scrapes at once.

mod engine;
mod page;
mod scrape;
mod tracker;

pub use engine::Reading;
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
    tasks: FnvHashMap<SocketAddr, Task>,
    unseen: Arc<AtomicUsize>,
}

/// One endpoint's task, and the way to reach it.
#[derive(Debug)]
struct Task {
    orders: watch::Sender<Orders>,
    handle: AbortHandle,
}

/// The configuration of one endpoint.
#[derive(Clone, Copy, Debug)]
struct Orders {
    scrape: Scrape,
    /// As in [`crate::config::Pool`].
    kv_below_gpu_tokens: Option<u64>,
}

/// Counts one endpoint whose first scrape has not ended, for as long as it lives.
#[derive(Debug)]
struct Unseen(Arc<AtomicUsize>);

/// The state of one endpoint's task.
#[derive(Debug)]
struct Target {
    address: SocketAddr,
    shared: Shared,
    metrics: Arc<Metrics>,
    scraper: Scraper,
    orders: watch::Receiver<Orders>,
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
            tasks: FnvHashMap::default(),
            unseen: Arc::default(),
        }
    }

    /// Scrapes the endpoints of `settings` from now on, and no others.
    pub fn follow(&mut self, settings: &Settings) {
        let mut stale = std::mem::take(&mut self.tasks);
        for pool in &settings.pools {
            let orders = Orders { scrape: settings.scrape, kv_below_gpu_tokens: pool.kv_below_gpu_tokens };
            for address in &pool.endpoints {
                let task = match stale.remove(address) {
                    Some(task) => task.order(orders),
                    None => self.start(*address, orders),
                };
                self.tasks.insert(*address, task);
            }
        }
        for task in stale.into_values() {
            task.handle.abort();
        }
    }

    /// Endpoints whose first scrape has not ended.
    pub fn unseen(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.unseen)
    }

    fn start(&self, address: SocketAddr, orders: Orders) -> Task {
        let (orders, receiver) = watch::channel(orders);
        self.unseen.fetch_add(1, Ordering::AcqRel);
        let target = Target {
            address,
            shared: self.shared.clone(),
            metrics: Arc::clone(&self.metrics),
            scraper: self.scraper.clone(),
            orders: receiver,
            unseen: Some(Unseen(Arc::clone(&self.unseen))),
        };
        Task { orders, handle: tokio::spawn(target.run()).abort_handle() }
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        for task in self.tasks.values() {
            task.handle.abort();
        }
    }
}

// === impl Task ===

impl Task {
    /// Updates the task's configuration; it scrapes at once.
    fn order(self, orders: Orders) -> Self {
        self.orders.send_replace(orders);
        self
    }
}

// === impl Target ===

impl Target {
    async fn run(mut self) {
        let id = EndpointId::of(&self.address.to_string());
        let mut tracker = Tracker::new(id);
        let mut source = Source::default();
        let mut health = Health::Unknown;
        let first = spread(id, self.orders.borrow().scrape.interval.min(SPREAD_MAX));
        tokio::time::sleep(first).await;
        loop {
            let Orders { scrape, kv_below_gpu_tokens } = *self.orders.borrow_and_update();
            tracker.configure(kv_below_gpu_tokens);
            let start = Instant::now();
            let outcome = self.scraper.scrape(self.address, &mut source, scrape.timeout).await;
            self.metrics.scrape_seconds.observe(start.elapsed().as_secs_f64());
            self.metrics.scrapes.get_or_create(&[("outcome", outcome.label())]).inc();
            for status in tracker.step(outcome, scrape.unhealthy_after) {
                if status.health() != health {
                    health = status.health();
                    self.log(health, outcome);
                }
                self.shared.with(|hub, now| hub.publish(Kind::EngineStatus(status), now));
            }
            self.unseen = None;
            let rest = scrape.interval.saturating_sub(start.elapsed());
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                changed = self.orders.changed() => if changed.is_err() { return },
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

/// An offset within `interval` that differs between endpoints and is constant for each.
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
