//! Who follows the state, and what each of them is owed.
//!
//! Pure: streams are numbers, time is an argument, and what must be sent is handed out by [`Hub::take`].
//! An event is applied, numbered and put into every other proxy's backlog in one call, so all of them see
//! the same order.

use super::backlog::{Added, Backlog};
use super::message::Stamp;
use super::routing::Routing;
use crate::index::{Author, Dropped, Fact, Index, news};
use crate::metrics::Metrics;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Notify;
use warmpath_core::ids::{Generation, InstanceId, OriginId, ProcessId};
use warmpath_core::limits::PROXIES_MAX;
use warmpath_core::time::Timestamp;
use warmpath_core::wire::{Event, Gone, Hello, Kind, PrefixDecoder};

/// How long after its last stream a proxy process keeps its loads: longer than a reconnect, shorter than
/// anybody should believe in requests that nobody reports on.
const DEPARTURE_GRACE_MS: u64 = 2_000;
/// Time between two looks for silent origins.
const EXPIRE_INTERVAL_MS: u64 = 1_000;

/// All streams over one index.
#[derive(Debug)]
pub struct Hub {
    index: Index,
    proxies: BTreeMap<StreamId, Proxy>,
    departures: Vec<Departure>,
    routing: Routing,
    expire_at: Timestamp,
    streams: u64,
    metrics: Arc<Metrics>,
}

/// A process without a stream.
#[derive(Clone, Copy, Debug)]
struct Departure {
    process: ProcessId,
    /// When it counts as gone.
    due: Timestamp,
}

/// Names one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(u64);

/// What to send next.
#[derive(Debug)]
pub enum Batch {
    /// What a returning proxy missed.
    Resumed(Stamp, Vec<Arc<Fact>>),
    /// Everything.
    Snapshot(Stamp, Vec<Event>),
    /// What changed.
    Deltas(Stamp, Vec<Arc<Fact>>),
}

/// One stream's state.
#[derive(Debug)]
struct Proxy {
    process: ProcessId,
    owed: Owed,
    backlog: Backlog,
    /// The generation that it was last sent.
    sent: Generation,
    prefixes: PrefixDecoder,
    wake: Arc<Notify>,
}

/// What a stream is owed before its backlog.
#[derive(Debug)]
enum Owed {
    Nothing,
    Resume(Vec<Arc<Fact>>),
    Snapshot,
}

// === impl Hub ===

impl Hub {
    /// A hub without streams.
    pub fn new(index: Index, metrics: Arc<Metrics>) -> Self {
        Self {
            index,
            proxies: BTreeMap::new(),
            departures: Vec::new(),
            routing: Routing::default(),
            expire_at: Timestamp::ZERO,
            streams: 0,
            metrics,
        }
    }

    /// The index.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// A proxy opens a stream. The `Notify` is notified whenever [`Hub::take`] has something for it.
    /// `None`: there are too many.
    pub fn join(&mut self, hello: &Hello) -> Option<(StreamId, Arc<Notify>)> {
        if self.proxies.len() >= PROXIES_MAX {
            return None;
        }
        let process = ProcessId(hello.process);
        self.departures.retain(|departure| departure.process != process);
        let missed = hello.resume.and_then(|resume| {
            let generation = Generation(resume.generation);
            Some((self.index.since(process, InstanceId(resume.instance), generation)?, generation))
        });
        let (owed, sent) = missed.map_or((Owed::Snapshot, Generation::default()), |(facts, generation)| {
            (Owed::Resume(facts), generation)
        });
        let wake = Arc::new(Notify::new());
        wake.notify_one();
        let backlog = Backlog::default();
        let proxy = Proxy {
            process,
            owed,
            backlog,
            sent,
            prefixes: PrefixDecoder::default(),
            wake: Arc::clone(&wake),
        };
        self.streams += 1;
        let id = StreamId(self.streams);
        self.proxies.insert(id, proxy);
        self.count_proxies();
        Some((id, wake))
    }

    /// A stream has ended.
    pub fn leave(&mut self, id: StreamId, now: Timestamp) {
        let Some(proxy) = self.proxies.remove(&id) else { return };
        if self.proxies.values().all(|other| other.process != proxy.process) {
            self.departures.push(Departure { process: proxy.process, due: now.plus_ms(DEPARTURE_GRACE_MS) });
        }
        self.count_proxies();
    }

    /// A proxy tells what it did: everybody else hears of it.
    pub fn receive(&mut self, id: StreamId, events: Vec<Event>, now: Timestamp) {
        for event in events {
            let Some(kind) = event.kind else {
                self.count_dropped(Dropped::Unsupported);
                continue;
            };
            self.metrics.events_in.get_or_create(&[("kind", kind.label())]).inc();
            let Some(proxy) = self.proxies.get_mut(&id) else { return };
            let process = proxy.process;
            if matches!(&kind, Kind::InFlight(load) if load.requests > 0) {
                self.routing.note(process, now);
            }
            let accepted = whole(kind, &mut proxy.prefixes, &self.index)
                .and_then(|kind| self.index.accept(Author::Proxy(process), kind, now));
            match accepted {
                Ok(fact) => self.pass_on(&fact),
                Err(dropped) => self.count_dropped(dropped),
            }
        }
    }

    /// The controller itself has something to tell.
    pub fn publish(&mut self, kind: Kind, now: Timestamp) {
        match self.index.accept(Author::Controller, kind, now) {
            Ok(fact) => self.pass_on(&fact),
            Err(dropped) => self.count_dropped(dropped),
        }
    }

    /// What to send to a stream next, if anything.
    pub fn take(&mut self, id: StreamId) -> Option<Batch> {
        let proxy = self.proxies.get_mut(&id)?;
        let after = self.index.generation();
        let stamp = Stamp { instance: self.index.instance(), before: proxy.sent, after };
        let owed = std::mem::replace(&mut proxy.owed, Owed::Nothing);
        let batch = match owed {
            Owed::Snapshot => {
                self.metrics.snapshots.inc();
                Batch::Snapshot(stamp, self.index.snapshot(proxy.process))
            }
            Owed::Resume(mut facts) => {
                self.metrics.resumes.inc();
                facts.append(&mut proxy.backlog.take());
                Batch::Resumed(stamp, facts)
            }
            Owed::Nothing => {
                let facts = proxy.backlog.take();
                if facts.is_empty() {
                    return None;
                }
                Batch::Deltas(stamp, facts)
            }
        };
        proxy.sent = after;
        if let Batch::Resumed(_, facts) | Batch::Deltas(_, facts) = &batch {
            for fact in facts {
                self.metrics.events_out.get_or_create(&[("kind", fact.label)]).inc();
            }
        }
        Some(batch)
    }

    /// The generation, if a stream has not been told of it: a proxy that alone is busy hears nothing of its
    /// own events, and would ask to go on at a generation long gone from the ring.
    pub fn untold(&mut self, id: StreamId) -> Option<Stamp> {
        let proxy = self.proxies.get_mut(&id)?;
        let after = self.index.generation();
        let is_settled = matches!(proxy.owed, Owed::Nothing) && proxy.backlog.is_empty();
        if proxy.sent == after || !is_settled {
            return None;
        }
        let before = std::mem::replace(&mut proxy.sent, after);
        Some(Stamp { instance: self.index.instance(), before, after })
    }

    /// Drops what has become too old. Call it a few times a second.
    pub fn tick(&mut self, now: Timestamp) {
        let due: Vec<Departure> = self.departures.extract_if(.., |departure| departure.due <= now).collect();
        for Departure { process, .. } in due {
            self.routing.forget(process);
            for OriginId(origin) in self.index.origins_of(process) {
                self.publish(Kind::Gone(Gone { origin }), now);
            }
        }
        if let Some(proxies) = self.routing.news(now) {
            self.publish(Kind::Proxies(proxies), now);
        }
        if now >= self.expire_at {
            self.expire_at = now.plus_ms(EXPIRE_INTERVAL_MS);
            self.index.expire(now);
        }
    }

    fn pass_on(&mut self, fact: &Arc<Fact>) {
        for proxy in self.proxies.values_mut().filter(|proxy| Author::Proxy(proxy.process) != fact.author) {
            if matches!(proxy.owed, Owed::Snapshot) {
                continue;
            }
            match proxy.backlog.add(Arc::clone(fact)) {
                Added::Queued => {}
                Added::Coalesced => {
                    self.metrics.coalesced.inc();
                }
                Added::Overflowed => {
                    self.metrics.overflowed.inc();
                    proxy.owed = Owed::Snapshot;
                }
            }
            proxy.wake.notify_one();
        }
    }

    fn count_dropped(&self, dropped: Dropped) {
        self.metrics.events_dropped.get_or_create(&[("reason", dropped.label())]).inc();
    }

    fn count_proxies(&self) {
        self.metrics.proxies.set(i64::try_from(self.proxies.len()).unwrap_or(i64::MAX));
    }
}

/// Makes an event one that means the same to every receiver.
fn whole(kind: Kind, prefixes: &mut PrefixDecoder, index: &Index) -> Result<Kind, Dropped> {
    let Kind::Prefix(prefix) = &kind else { return Ok(kind) };
    let whole = prefixes.decode(prefix).map_err(|_| Dropped::Broken)?;
    news(index.view(), &whole).map(Kind::Prefix).ok_or(Dropped::Known)
}
