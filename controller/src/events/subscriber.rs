//! The feeds of all engines: which there are, and where each publishes.
//!
//! Each engine has a task that finds out where its ranks publish, and a task for each rank. An engine that is asked lists its
//! sockets; one that does not know the question publishes where the configuration puts it. It is asked again when another
//! process has begun, and while there is no connection: a port may be another one after a restart.

use super::board::{Board, Process};
use super::feed::{ARRIVALS_MAX, Common, Feed, Order};
use super::lines::{Line, Lines};
use super::listen;
use super::sources::{SOURCES_PATH, Source, Sources, listed};
use super::{Report, Step};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::telemetry::Scraper;
use fnv::FnvHashMap;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, sleep};
use warmpath_core::wire::Trust;

/// Reports that nobody has taken yet, of all engines together.
const REPORTS_MAX: usize = 64;
/// Orders that a feed has not taken yet.
const ORDERS_MAX: usize = 4;
/// How often it is looked whether another process has begun.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How often an engine is asked again that has a rank without a connection.
const CUT_INTERVAL: Duration = Duration::from_secs(5);
/// The same of an engine without any source, at first: it may be about to start.
const UNKNOWN_MIN: Duration = Duration::from_secs(1);
/// And after several in vain: one that does not know the question logs it.
const UNKNOWN_MAX: Duration = Duration::from_mins(1);
/// How long the response may take.
const LIST_TIMEOUT: Duration = Duration::from_secs(2);

/// The feeds of all engines.
#[derive(Debug)]
pub struct Feeds {
    common: Common,
    lines: Lines,
    scraper: Scraper,
    engines: FnvHashMap<SocketAddr, Following>,
    /// The tasks of those that are followed no more and may not have ended.
    ending: FnvHashMap<SocketAddr, JoinHandle<()>>,
    listening: Option<AbortHandle>,
}

/// An engine that is followed.
#[derive(Debug)]
struct Following {
    /// Its task ends when this is gone, after it has taken back what it has reported.
    followed: watch::Sender<Followed>,
    task: JoinHandle<()>,
}

/// What is known of an engine from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// Which engine is at the address: another pod is another one.
    pub identity: u64,
    /// How it publishes.
    pub sources: Sources,
}

/// One engine's task.
struct Engine {
    address: SocketAddr,
    followed: watch::Receiver<Followed>,
    common: Common,
    lines: Lines,
    scraper: Scraper,
    feeds: BTreeMap<u32, Running>,
    process: Process,
    /// Whether it has listed its sockets.
    has_listed: bool,
    /// How long it is not asked again that has none.
    unknown: Duration,
}

/// The task of one rank.
struct Running {
    source: Source,
    task: JoinHandle<()>,
}

// === impl Feeds ===

impl Feeds {
    /// Nothing is followed yet. What is reported of all engines comes out of the receiver, which must be read.
    pub fn new(metrics: Arc<Metrics>, clock: Clock) -> (Self, mpsc::Receiver<Report>) {
        let (reports, receiver) = mpsc::channel(REPORTS_MAX);
        let common = Common { reports, board: Board::default(), metrics, clock };
        let (lines, scraper) = (Lines::default(), Scraper::default());
        let (engines, ending) = (FnvHashMap::default(), FnvHashMap::default());
        (Self { common, lines, scraper, engines, ending, listening: None }, receiver)
    }

    /// What is seen of them. It must be given what scrapes show of each engine's process.
    pub fn board(&self) -> Board {
        self.common.board.clone()
    }

    /// The way to each.
    pub fn lines(&self) -> Lines {
        self.lines.clone()
    }

    /// Takes the connections of engines that connect.
    pub fn listen(&mut self, listener: TcpListener) {
        let listen = listen::listen(listener, self.lines.clone(), Arc::clone(&self.common.metrics));
        self.listening = Some(tokio::spawn(listen).abort_handle());
    }

    /// Follows these engines from now on, and no others. Of one that is named twice, the first counts.
    pub fn follow(&mut self, engines: impl IntoIterator<Item = (SocketAddr, Followed)>) {
        let mut stale = std::mem::take(&mut self.engines);
        for (address, followed) in engines {
            if self.engines.contains_key(&address) {
                continue;
            }
            let following = stale.remove(&address).unwrap_or_else(|| self.start(address, followed.clone()));
            following.followed.send_if_modified(|current| {
                let is_other = *current != followed;
                *current = followed;
                is_other
            });
            self.engines.insert(address, following);
        }
        self.ending.retain(|_, task| !task.is_finished());
        for (address, Following { task, .. }) in stale {
            self.common.board.follow(address, false);
            self.ending.insert(address, task);
        }
    }

    fn start(&mut self, address: SocketAddr, followed: Followed) -> Following {
        self.common.board.follow(address, true);
        let (sender, receiver) = watch::channel(followed);
        let before = self.ending.remove(&address);
        let engine = Engine {
            address,
            followed: receiver,
            common: self.common.clone(),
            lines: self.lines.clone(),
            scraper: self.scraper.clone(),
            feeds: BTreeMap::new(),
            process: Process::default(),
            has_listed: false,
            unknown: UNKNOWN_MIN,
        };
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                // It would take back what this one registers and reports.
                let _ = before.await;
            }
            engine.run().await;
        });
        Following { followed: sender, task }
    }
}

impl Drop for Feeds {
    fn drop(&mut self) {
        if let Some(listening) = &self.listening {
            listening.abort();
        }
    }
}

// === impl Engine ===

impl Engine {
    async fn run(mut self) {
        let mut identity = self.followed.borrow().identity;
        loop {
            let followed = self.followed.borrow_and_update().clone();
            if followed.identity != identity {
                identity = followed.identity;
                (self.has_listed, self.unknown) = (false, UNKNOWN_MIN);
                self.set(Vec::new()).await;
            }
            if let Some(sources) = self.find(&followed.sources).await {
                self.set(sources).await;
            }
            if !self.rest().await {
                self.set(Vec::new()).await;
                return;
            }
        }
    }

    /// Where its ranks publish; none where what is known stays.
    async fn find(&mut self, sources: &Sources) -> Option<Vec<Source>> {
        if sources.discovers {
            let body = self.scraper.page(self.address, SOURCES_PATH, LIST_TIMEOUT).await;
            match body.and_then(|body| listed(self.address, &body)) {
                Some(listed) if !listed.is_empty() => {
                    self.has_listed = true;
                    return Some(listed);
                }
                // It does not respond just now: it may be loading its model.
                None if self.has_listed => return None,
                _ => {}
            }
        }
        Some(sources.configured(self.address))
    }

    /// Follows these sources, and takes back what others have reported.
    async fn set(&mut self, sources: Vec<Source>) {
        let mut stale = std::mem::take(&mut self.feeds);
        for source in sources {
            let rank = source.rank;
            let kept = stale.remove(&rank);
            let running = match kept {
                Some(running) if running.source == source && !running.task.is_finished() => running,
                other => {
                    if let Some(other) = other {
                        self.stop(rank, other).await;
                    }
                    self.start(source).await
                }
            };
            self.feeds.insert(rank, running);
        }
        for (rank, running) in stale {
            self.stop(rank, running).await;
            self.report(rank, Step::Gone).await;
        }
    }

    async fn start(&self, source: Source) -> Running {
        let rank = source.rank;
        // A rank that is not reached yet counts as well: prompts go to it.
        self.report(rank, Step::Trust { trust: Trust::None, is_cleared: true }).await;
        let (sender, arrivals) = mpsc::channel(ARRIVALS_MAX);
        let (orders, ordered) = mpsc::channel(ORDERS_MAX);
        let connects = source.publisher.is_none();
        let line = Line { arrivals: connects.then(|| sender.clone()), orders };
        self.common.board.insert(self.address, source.clone());
        self.common.show();
        self.lines.insert(self.address, rank, line);
        let feed = Feed::new(self.address, source.clone(), self.common.clone(), sender);
        tracing::info!(endpoint = %self.address, rank, publisher = ?source.publisher, "following KV events");
        Running { source, task: tokio::spawn(feed.run(arrivals, ordered)) }
    }

    async fn stop(&self, rank: u32, mut running: Running) {
        self.lines.remove(self.address, rank);
        self.common.board.remove(self.address, rank);
        self.common.show();
        running.task.abort();
        // Once it has ended it reports nothing any more.
        let _ = (&mut running.task).await;
    }

    async fn report(&self, rank: u32, step: Step) {
        // Nobody takes it when the controller ends.
        let _ = self.common.reports.send(Report { endpoint: self.address, rank, steps: vec![step] }).await;
    }

    /// Waits until it should be asked again. Returns whether it is followed any more.
    async fn rest(&mut self) -> bool {
        let since = Instant::now();
        loop {
            tokio::select! {
                changed = self.followed.changed() => return changed.is_ok(),
                () = sleep(LOOK_INTERVAL) => {}
            }
            let process = self.common.board.process(self.address);
            let before = std::mem::replace(&mut self.process, process).incarnation;
            if before != process.incarnation && process.incarnation != 0 {
                self.unknown = UNKNOWN_MIN;
                if before != 0 {
                    let ranks = self.feeds.keys();
                    ranks.for_each(|rank| self.lines.order(self.address, *rank, Order::Renewed));
                }
                return true;
            }
            let seen = self.common.board.seen(self.address);
            let is_cut = seen.iter().any(|(_, seen)| !seen.is_connected);
            if is_cut && since.elapsed() >= CUT_INTERVAL {
                return true;
            }
            if seen.is_empty() && since.elapsed() >= self.unknown {
                self.unknown = (self.unknown * 2).min(UNKNOWN_MAX);
                return true;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}
