//! Telemetry: one scrape per engine and interval, whatever the number of proxies.
//!
//! ```text
//!   engine /metrics ─► scrape ─► page ─► engine (status) ─► tracker (changes) ─► Hub::publish
//!                                                              ▲
//!                                        fleet (do all fail?) ─┘
//! ```
//!
//! Each endpoint has its own task, so that a slow engine delays no other and never has two scrapes at once. A page costs the
//! engine some milliseconds of Python and a line of its log, so it is asked for once a second; `pace` says when sooner.

mod connectors;
mod engine;
mod fleet;
mod latency;
mod models;
mod pace;
mod page;
mod scrape;
mod series;
mod token_times;
mod tracker;

pub use connectors::Connectors;
pub use engine::{EngineKind, Reading};
pub use fleet::{Fleet, Seen};
pub use latency::{Histogram, Latencies};
pub use models::Models;
pub use page::{Sample, samples};
pub(crate) use scrape::Scraper;
pub use token_times::{Ended, TokenTimes};

use crate::config::{Member, Pool, Scrape};
use crate::events::{Board, Process};
use crate::metrics::Metrics;
use crate::publish::Shared;
use connectors::{QUERY_PATH, query_port};
use fnv::FnvHashMap;
use models::LIST_INTERVAL;
use pace::Pace;
use scrape::{MODELS_PATH, Source};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracker::{Outcome, Rules, Tracker};
use warmpath_config::transfer::has_bootstrap;
use warmpath_core::ids::EndpointId;
use warmpath_core::split::BOOTSTRAP_PORT_DEFAULT;
use warmpath_core::wire::{Health, Kind, Role};

/// First scrapes are spread over at most this time, so that readiness does not wait for a long interval.
const SPREAD_MAX: Duration = Duration::from_millis(500);

/// Time between two tries of a bootstrap server that does not accept connections.
const DEAF_INTERVAL: Duration = Duration::from_secs(10);

/// The scraping tasks of all endpoints.
#[derive(Debug)]
pub struct Telemetry {
    shared: Shared,
    metrics: Arc<Metrics>,
    scraper: Scraper,
    tasks: FnvHashMap<SocketAddr, Task>,
    fleet: Fleet,
    models: Models,
    connectors: Connectors,
    board: Board,
    unseen: Arc<AtomicUsize>,
}

/// One endpoint's task, and the way to reach it.
#[derive(Debug)]
struct Task {
    /// What it scrapes: another pod at the same address is another engine.
    identity: u64,
    orders: watch::Sender<Orders>,
    handle: AbortHandle,
}

/// The configuration of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Orders {
    scrape: Scrape,
    /// As in [`crate::config::Pool`].
    kv_below_gpu_tokens: Option<u64>,
    /// Whether its list of models is read: the pool's names may be on it, and proxies merge the lists of several pools. That
    /// of one pool they leave to its engines.
    reads_models: bool,
    /// Where its KV connector lists its id, if that is needed.
    query_port: Option<u16>,
    /// The port of its bootstrap server, if it has one: it is tried now and then, for people only.
    bootstrap_port: Option<u16>,
}

/// Counts one endpoint whose first scrape has not ended, for as long as it lives.
#[derive(Debug)]
pub struct Unseen(Arc<AtomicUsize>);

/// The state of one endpoint's task.
#[derive(Debug)]
struct Target {
    address: SocketAddr,
    shared: Shared,
    metrics: Arc<Metrics>,
    scraper: Scraper,
    fleet: Fleet,
    models: Models,
    connectors: Connectors,
    /// Those who follow its KV events look there for another process.
    board: Board,
    /// When its list of models was read last, and in which incarnation.
    listed: Option<(Instant, u64)>,
    /// The same of its id.
    identified: Option<(Instant, u64)>,
    /// When its bootstrap server is to be tried next, and at which port it was.
    tried: Option<(Instant, u16)>,
    orders: watch::Receiver<Orders>,
    unseen: Option<Unseen>,
}

// === impl Telemetry ===

impl Telemetry {
    /// Nothing is scraped yet. What scrapes show of engines' processes is reported to `board`.
    pub fn new(shared: Shared, metrics: Arc<Metrics>, board: Board) -> Self {
        Self {
            shared,
            metrics,
            scraper: Scraper::default(),
            tasks: FnvHashMap::default(),
            fleet: Fleet::default(),
            models: Models::default(),
            connectors: Connectors::default(),
            board,
            unseen: Arc::default(),
        }
    }

    /// Scrapes the endpoints of `pools` from now on, and no others.
    pub fn follow(&mut self, pools: &[Pool], scrape: Scrape) {
        self.fleet.follow(pools, &self.metrics);
        let mut stale = std::mem::take(&mut self.tasks);
        for pool in pools {
            let reads_models = pools.len() > 1 || pool.models.is_empty();
            let kv_below_gpu_tokens = pool.kv_below_gpu_tokens;
            let query_port = query_port(pool.transfer.as_ref());
            for member in &pool.endpoints {
                if self.tasks.contains_key(&member.address) {
                    // In several pools, the first one's counts: another task would begin anew each time.
                    continue;
                }
                let query_port = query_port.filter(|_| member.role != Role::Decode);
                let bootstrap_port = bootstrap_port(pool, member);
                let orders = Orders { scrape, kv_below_gpu_tokens, reads_models, query_port, bootstrap_port };
                let kept = stale.remove(&member.address).filter(|task| task.identity == member.identity);
                let task = match kept {
                    Some(task) => task.order(orders),
                    None => self.start(*member, orders),
                };
                self.tasks.insert(member.address, task);
            }
        }
        drop(stale);
        self.models.retain(|address| self.tasks.contains_key(address));
        self.connectors.retain(|address| self.tasks.contains_key(address));
    }

    /// What the scrapes show.
    pub fn fleet(&self) -> Fleet {
        self.fleet.clone()
    }

    /// What the engines list.
    pub fn models(&self) -> Models {
        self.models.clone()
    }

    /// What their connectors call themselves.
    pub fn connectors(&self) -> Connectors {
        self.connectors.clone()
    }

    /// Endpoints whose first scrape has not ended.
    pub fn unseen(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.unseen)
    }

    /// Counts as one of them for as long as it lives.
    pub fn hold(&self) -> Unseen {
        Unseen::new(&self.unseen)
    }

    fn start(&self, member: Member, orders: Orders) -> Task {
        let Member { address, identity, .. } = member;
        let (orders, receiver) = watch::channel(orders);
        let target = Target {
            address,
            shared: self.shared.clone(),
            metrics: Arc::clone(&self.metrics),
            scraper: self.scraper.clone(),
            fleet: self.fleet.clone(),
            models: self.models.clone(),
            connectors: self.connectors.clone(),
            board: self.board.clone(),
            listed: None,
            identified: None,
            tried: None,
            orders: receiver,
            unseen: Some(Unseen::new(&self.unseen)),
        };
        Task { identity, orders, handle: tokio::spawn(target.run()).abort_handle() }
    }
}

// === impl Task ===

impl Task {
    /// Updates the task's configuration; if that has changed, it scrapes at once.
    fn order(self, orders: Orders) -> Self {
        self.orders.send_if_modified(|current| std::mem::replace(current, orders) != orders);
        self
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

// === impl Target ===

impl Target {
    async fn run(mut self) {
        let id = EndpointId::of(&self.address.to_string());
        let mut tracker = Tracker::new(id, random(self.address));
        let mut source = Source::default();
        let mut health = Health::Unknown;
        let first = spread(id, self.orders.borrow().scrape.interval.min(SPREAD_MAX));
        tokio::time::sleep(first).await;
        loop {
            let Orders { scrape, kv_below_gpu_tokens, reads_models, query_port, bootstrap_port } =
                *self.orders.borrow_and_update();
            tracker.configure(kv_below_gpu_tokens);
            let start = Instant::now();
            let in_flight = self.in_flight(id);
            let scraped = self.scraper.scrape(self.address, &mut source, scrape.timeout).await;
            let outcome = scraped.outcome;
            self.metrics.scrape_seconds.observe(start.elapsed().as_secs_f64());
            self.metrics.scrapes.get_or_create(&[("outcome", outcome.label())]).inc();
            let shown = tracker.health_with(outcome, scrape.unhealthy_after);
            let is_alone = self.fleet.report(self.address, (shown, outcome), &self.metrics);
            if let Some(latencies) = &scraped.latencies {
                self.fleet.report_latencies(self.address, Arc::clone(latencies));
            }
            if shown != health {
                health = shown;
                self.log(health, outcome);
            }
            let rules = Rules { unhealthy_after: scrape.unhealthy_after, is_alone };
            self.shared.with(|hub, now| {
                for status in tracker.step(&scraped, rules, now) {
                    hub.publish(Kind::EngineStatus(status), now);
                }
            });
            let process = Process { incarnation: tracker.incarnation(), work: tracker.work_done() };
            self.board.report(self.address, process);
            self.unseen = None;
            if shown == Health::Healthy && !matches!(outcome, Outcome::Failed(_)) {
                if reads_models {
                    self.list(tracker.incarnation(), scrape.timeout).await;
                }
                if let Some(port) = query_port {
                    self.identify(port, tracker.incarnation(), scrape.timeout).await;
                }
            }
            self.try_bootstrap(bootstrap_port, scrape.timeout).await;
            let pace = Pace { scrape, in_flight, is_cut: outcome.is_cut(), random: random(self.address) };
            if !self.rest(id, &pace, start).await {
                return;
            }
        }
    }

    /// Reads the list of models, if it is old or another process has begun.
    async fn list(&mut self, incarnation: u64, timeout: Duration) {
        if is_recent(self.listed, incarnation) {
            return;
        }
        self.listed = Some((Instant::now(), incarnation));
        if let Some(body) = self.scraper.page(self.address, MODELS_PATH, timeout).await {
            self.models.take(self.address, &body);
        }
    }

    /// Reads the id of its KV connector, if it is old or another process has begun.
    async fn identify(&mut self, port: u16, incarnation: u64, timeout: Duration) {
        if is_recent(self.identified, incarnation) {
            return;
        }
        let server = SocketAddr::new(self.address.ip(), port);
        if let Some(body) = self.scraper.page(server, QUERY_PATH, timeout).await {
            self.identified = Some((Instant::now(), incarnation));
            self.connectors.take(self.address, &body);
        }
    }

    /// Tries its bootstrap server, if it was not tried lately.
    async fn try_bootstrap(&mut self, port: Option<u16>, timeout: Duration) {
        let Some(port) = port else {
            self.fleet.report_bootstrap(self.address, None);
            return;
        };
        if self.tried.is_some_and(|(next, tried)| tried == port && Instant::now() < next) {
            return;
        }
        let server = SocketAddr::new(self.address.ip(), port);
        let connected = tokio::time::timeout(timeout, TcpStream::connect(server)).await;
        let accepts = matches!(connected, Ok(Ok(_)));
        self.tried = Some((Instant::now() + if accepts { LIST_INTERVAL } else { DEAF_INTERVAL }, port));
        self.fleet.report_bootstrap(self.address, Some(accepts));
    }

    /// Waits until the next scrape is due. Returns whether there is to be one.
    async fn rest(&mut self, id: EndpointId, pace: &Pace, start: Instant) -> bool {
        loop {
            let wait = pace.wait(start.elapsed());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                changed = self.orders.changed() => return changed.is_ok(),
            }
            if pace.is_due(start.elapsed(), self.in_flight(id)) {
                return true;
            }
        }
    }

    /// Requests that the proxies have there.
    fn in_flight(&self, id: EndpointId) -> u32 {
        self.shared.with(|hub, _| {
            let view = hub.index().view();
            view.slot(id).and_then(|slot| view.endpoint(slot)).map_or(0, |e| e.in_flight().requests)
        })
    }

    fn log(&self, health: Health, outcome: Outcome) {
        let endpoint = self.address;
        match health {
            Health::Unhealthy => tracing::warn!(%endpoint, last = outcome.label(), "endpoint is unhealthy"),
            Health::Healthy => tracing::info!(%endpoint, last = outcome.label(), "endpoint is healthy"),
            Health::Unknown | Health::Absent => {}
        }
    }
}

/// Whether something was read a moment ago, and of this process.
fn is_recent(read: Option<(Instant, u64)>, incarnation: u64) -> bool {
    read.is_some_and(|(at, of)| at.elapsed() < LIST_INTERVAL && of == incarnation)
}

/// The port of the bootstrap server of an engine that only prefills; others have none.
fn bootstrap_port(pool: &Pool, member: &Member) -> Option<u16> {
    let transfer = pool.transfer.as_ref().filter(|transfer| has_bootstrap(transfer.protocol()))?;
    let port = u16::try_from(transfer.bootstrap_port).ok().filter(|port| *port > 0);
    (member.role == Role::Prefill).then_some(port.unwrap_or(BOOTSTRAP_PORT_DEFAULT))
}

fn random(of: SocketAddr) -> u64 {
    RandomState::new().hash_one(of)
}

/// An offset within `interval` that differs between endpoints and is constant for each.
fn spread(id: EndpointId, interval: Duration) -> Duration {
    let permille = u32::try_from(id.0 % 1000).unwrap_or(0);
    interval * permille / 1000
}

// === impl Unseen ===

impl Unseen {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
