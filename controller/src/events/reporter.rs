//! The reports of all engines -> what proxies are sent.
//!
//! ```text
//!   Report ─► the endpoint's Blocks ─► Changes ─► Reported, Reporting ─► Hub::publish
//! ```
//!
//! One task for all engines: what it does for a block takes two microseconds (`--example blocks`), and the order of an engine's events must stay. It
//! publishes at once what comes after a pause, and what comes in a burst together, so that the hub is locked some hundred times a
//! second however many engines there are. While it is behind, the feeds wait, and give up what they cannot keep.

use super::Report;
use super::blocks::{Blocks, Chains, Changes, Counts};
use super::format::Written;
use crate::clock::Clock;
use crate::publish::{Hub, Shared};
use fnv::FnvHashMap;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use warmpath_core::ids::{CellHash, EndpointId};
use warmpath_core::wire::{Kind, Reported, Reporting, Tier, Trust};

/// Time between two rounds of publishing.
const ROUND_INTERVAL: Duration = Duration::from_millis(2);
/// Cells of one event: a page of a proxy's log.
const EVENT_CELLS_MAX: usize = 512;
/// Events for which the hub is locked once.
const LOCK_EVENTS_MAX: usize = 64;
/// Percents of a rank's room on its GPU from which on nothing else can be there: each further block removes one.
const FULL_PERCENT: u64 = 95;

/// The endpoints that are followed.
pub type Targets = BTreeMap<SocketAddr, Target>;

/// One of them.
#[derive(Clone, Debug)]
pub struct Target {
    /// What runs there, and whatever else its feed begins anew with.
    pub identity: u64,
    /// The name of its pool.
    pub pool: String,
    /// How its prompts are written.
    pub written: Arc<Written>,
    /// Whether proxies are sent nothing of it: it is followed for people only.
    pub is_withheld: bool,
}

/// What is known of all endpoints' reports. Its copies share one state.
#[derive(Clone, Debug, Default)]
pub struct Caches {
    state: Arc<Mutex<FnvHashMap<SocketAddr, Seen>>>,
}

/// What is known of one endpoint's reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// How far they are relied on.
    pub trust: Trust,
    /// Blocks that are known.
    pub blocks: usize,
    /// Cells that it holds.
    pub cells: usize,
    /// What became of blocks so far.
    pub counts: Counts,
}

/// The task.
#[derive(Debug)]
pub struct Reporter<F> {
    shared: Shared,
    clock: Clock,
    cell_bytes: usize,
    reports: mpsc::Receiver<Report>,
    targets: watch::Receiver<Targets>,
    caches: Caches,
    /// Called when the blocks that are known of a rank come to what its engine can hold.
    filled: F,
    endpoints: BTreeMap<SocketAddr, Endpoint>,
    /// Those with something to publish.
    changed: Vec<SocketAddr>,
}

#[derive(Debug)]
struct Endpoint {
    target: Target,
    blocks: Blocks,
    /// What was published last.
    trust: Trust,
    is_changed: bool,
}

// === impl Caches ===

impl Caches {
    /// What is known of an endpoint; none if it is not followed.
    pub fn seen(&self, address: SocketAddr) -> Option<Seen> {
        self.lock().get(&address).copied()
    }

    /// What became of the blocks of all endpoints that are followed.
    pub fn counts(&self) -> Counts {
        self.lock().values().fold(Counts::default(), |sum, seen| sum.and(seen.counts))
    }

    fn lock(&self) -> MutexGuard<'_, FnvHashMap<SocketAddr, Seen>> {
        // No update leaves it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Reporter ===

impl<F: Fn(SocketAddr, u32) + Send + 'static> Reporter<F> {
    /// Follows what comes out of `reports` of the endpoints that `targets` has.
    pub fn new(
        shared: Shared,
        clock: Clock,
        cell_bytes: usize,
        reports: mpsc::Receiver<Report>,
        targets: watch::Receiver<Targets>,
        filled: F,
    ) -> Self {
        let (caches, endpoints) = (Caches::default(), BTreeMap::new());
        Self { shared, clock, cell_bytes, reports, targets, caches, filled, endpoints, changed: Vec::new() }
    }

    /// What it knows.
    pub fn caches(&self) -> Caches {
        self.caches.clone()
    }

    /// Publishes until the stop.
    pub async fn run(mut self) {
        let shared = self.shared.clone();
        let mut due = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = shared.stopped() => return,
                changed = self.targets.changed() => {
                    if changed.is_err() { return }
                    self.retarget();
                }
                () = sleep_until(due), if !self.changed.is_empty() => {
                    self.publish();
                    due = Instant::now() + ROUND_INTERVAL;
                }
                report = self.reports.recv() => match report {
                    Some(report) => self.take(&report),
                    None => return,
                },
            }
        }
    }

    /// Begins anew with endpoints that are others now, and forgets those that are gone.
    fn retarget(&mut self) {
        let targets = self.targets.borrow_and_update().clone();
        let is_kept = |address: &SocketAddr, endpoint: &Endpoint| {
            targets.get(address).is_some_and(|target| target.identity == endpoint.target.identity)
        };
        let stale: Vec<SocketAddr> = self
            .endpoints
            .extract_if(.., |address, endpoint| !is_kept(address, endpoint))
            .map(|(address, _)| address)
            .collect();
        // A proxy that does not know the endpoint any more ignores it.
        self.shared.with(|hub, now| {
            for address in &stale {
                let kind = reporting(EndpointId::of(&address.to_string()), Trust::None, true);
                hub.publish(kind, now);
            }
        });
        self.changed.retain(|address| !stale.contains(address));
        let mut seen = self.caches.lock();
        seen.retain(|address, _| !stale.contains(address));
        for (address, target) in targets {
            self.endpoints.entry(address).or_insert_with(|| {
                seen.insert(address, Seen::default());
                Endpoint { target, blocks: Blocks::new(random()), trust: Trust::None, is_changed: false }
            });
        }
    }

    fn take(&mut self, report: &Report) {
        let Some(endpoint) = self.endpoints.get_mut(&report.endpoint) else { return };
        let written = Arc::clone(&endpoint.target.written);
        let chains = Chains {
            pool: &endpoint.target.pool,
            format: written.id,
            cell_bytes: self.cell_bytes,
            tokens: &written.tokens,
        };
        let now = self.clock.now();
        for step in &report.steps {
            endpoint.blocks.step(report.rank, step, &chains, now);
        }
        if !endpoint.is_changed {
            endpoint.is_changed = true;
            self.changed.push(report.endpoint);
        }
    }

    fn publish(&mut self) {
        for address in std::mem::take(&mut self.changed) {
            let Some(endpoint) = self.endpoints.get_mut(&address) else { continue };
            endpoint.is_changed = false;
            let id = EndpointId::of(&address.to_string());
            let (before, trust) = (endpoint.trust, endpoint.blocks.trust());
            endpoint.trust = trust;
            let mut kinds = events(id, (before, trust), &endpoint.blocks.drain());
            if endpoint.target.is_withheld {
                kinds.clear();
            }
            let mut kinds = kinds.into_iter().peekable();
            while kinds.peek().is_some() {
                self.shared.with(|hub, now| {
                    for kind in kinds.by_ref().take(LOCK_EVENTS_MAX) {
                        hub.publish(kind, now);
                    }
                });
            }
            let capacity = self.shared.with(|hub, _| capacity_tokens(hub, id));
            if let Some(capacity) = capacity {
                let room = endpoint.blocks.bound(capacity);
                let is_full = |tokens: u64| tokens.saturating_mul(100) >= room.saturating_mul(FULL_PERCENT);
                if trust == Trust::Partial {
                    for (rank, _) in endpoint.blocks.gpu_tokens().filter(|(_, tokens)| is_full(*tokens)) {
                        (self.filled)(address, rank);
                    }
                }
            }
            let blocks = &endpoint.blocks;
            let seen =
                Seen { trust, blocks: blocks.blocks(), cells: blocks.cells(), counts: blocks.counts() };
            self.caches.lock().insert(address, seen);
        }
    }
}

/// The events of one endpoint, in order. One whose reports get better is believed when they have arrived; one whose reports get worse,
/// at once no more.
fn events(id: EndpointId, (before, after): (Trust, Trust), changes: &Changes) -> Vec<Kind> {
    let mut kinds = Vec::new();
    let is_better = !matches!(before, Trust::Whole | Trust::Partial);
    let first = if is_better { before } else { after };
    if changes.is_cleared || first != before {
        kinds.push(reporting(id, first, changes.is_cleared));
    }
    for removed in changes.removed.chunks(EVENT_CELLS_MAX) {
        kinds.push(reported(id, Tier::Gpu, &[], removed));
    }
    for tier in [Tier::Gpu, Tier::Cpu, Tier::Disk, Tier::Remote] {
        let stored: Vec<CellHash> =
            changes.stored.iter().filter(|(of, _)| *of == tier).map(|(_, cell)| *cell).collect();
        kinds.extend(stored.chunks(EVENT_CELLS_MAX).map(|stored| reported(id, tier, stored, &[])));
    }
    if first != after {
        kinds.push(reporting(id, after, false));
    }
    kinds
}

fn reporting(EndpointId(endpoint): EndpointId, trust: Trust, is_cleared: bool) -> Kind {
    Kind::Reporting(Reporting { endpoint, trust: trust.into(), is_cleared })
}

fn reported(EndpointId(endpoint): EndpointId, tier: Tier, stored: &[CellHash], removed: &[CellHash]) -> Kind {
    let numbers = |cells: &[CellHash]| cells.iter().map(|cell| cell.0).collect();
    Kind::Reported(Reported {
        endpoint,
        tier: tier.into(),
        stored: numbers(stored),
        removed: numbers(removed),
    })
}

fn capacity_tokens(hub: &Hub, id: EndpointId) -> Option<u64> {
    let view = hub.index().view();
    view.endpoint(view.slot(id)?)?.status().capacity_tokens
}

fn random() -> u64 {
    RandomState::new().hash_one(0)
}
