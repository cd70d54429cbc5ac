//! The subscribers of the state, and what each of them is still to be sent.
//!
//! Pure: streams are numbers, time is an argument, and what must be sent is handed out by [`Hub::take`].
//! An event is applied, numbered and put into every other proxy's backlog in one call, so all of them see
//! the same order.

use super::backlog::{Added, Backlog};
use super::demand::{Arrival, Demand};
use super::latency::{FirstTokens, Latency};
use super::message::Stamp;
use super::outcomes::Outcomes;
use super::roster::{ConnectedProxy, RefusedProxy, Roster};
use super::taught::Taught;
use super::turns::Turns;
use super::usage::{Cached, Report, Usage};
use crate::index::{Author, Delta, Dropped, Index, Reader};
use crate::metrics::Metrics;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::Notify;
use warmpath_core::ids::{EndpointId, Generation, InstanceId, OriginId, ProcessId};
use warmpath_core::limits::PROXIES_MAX;
use warmpath_core::num::u64_len;
use warmpath_core::time::Timestamp;
use warmpath_core::wire::{Current, Event, Gone, Hello, Kind, Prefix, PrefixDecoder};

/// How long after its last stream a proxy process keeps its requests: longer than a reconnect, and short,
/// because no proxy reports on these requests any more.
const DEPARTURE_GRACE_MS: u64 = 2_000;
/// Time between two looks for silent origins.
const EXPIRE_INTERVAL_MS: u64 = 1_000;
/// Time between two of the controller's signs of life. A proxy that has had none for five of them drops what the
/// controller's statuses say of loads and health.
const CURRENT_INTERVAL_MS: u64 = 1_000;

/// All streams over one index.
#[derive(Debug)]
pub struct Hub {
    pub(super) index: Index,
    subscribers: BTreeMap<StreamId, Subscriber>,
    departures: Vec<Departure>,
    pub(super) turns: Turns,
    outcomes: Outcomes,
    latency: Latency,
    usage: Usage,
    pub(super) demand: Demand,
    pub(super) roster: Roster,
    /// The round of teaching that goes on.
    pub(super) taught: Taught,
    /// The round whose prefixes are being passed on.
    pub(super) passed_on: Option<Taught>,
    expire_at: Timestamp,
    current_at: Timestamp,
    streams: u64,
    /// The other replicas to which there is a stream.
    pub(super) links: BTreeSet<ProcessId>,
    metrics: Arc<Metrics>,
}

/// A process without a stream, or a replica that is not connected to.
#[derive(Clone, Copy, Debug)]
struct Departure {
    author: Author,
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
    Resumed(Stamp, Vec<Arc<Delta>>),
    /// Everything.
    Snapshot(Stamp, Vec<Event>),
    /// What changed.
    Deltas(Stamp, Vec<Arc<Delta>>),
    /// What other proxies taught: prefixes that continue each other.
    Taught(Stamp, Vec<Event>),
}

/// One stream of a proxy, or of another replica.
#[derive(Debug)]
struct Subscriber {
    reader: Reader,
    pending: Pending,
    backlog: Backlog,
    /// The generation that it was last sent.
    sent: Generation,
    prefixes: PrefixDecoder,
    /// Whether it has yet to be sent what others taught.
    lacks_taught: bool,
    wake: Arc<Notify>,
}

/// What a subscriber is to be sent before its backlog.
#[derive(Debug)]
enum Pending {
    Nothing,
    Resume(Vec<Arc<Delta>>),
    Snapshot,
}

// === impl Hub ===

impl Hub {
    /// A hub without streams.
    pub fn new(index: Index, metrics: Arc<Metrics>) -> Self {
        Self {
            taught: Taught::new(index.seed()),
            demand: Demand::new(index.seed()),
            passed_on: None,
            index,
            subscribers: BTreeMap::new(),
            departures: Vec::new(),
            turns: Turns::default(),
            outcomes: Outcomes::default(),
            latency: Latency::default(),
            usage: Usage::default(),
            roster: Roster::default(),
            expire_at: Timestamp::ZERO,
            current_at: Timestamp::ZERO,
            streams: 0,
            links: BTreeSet::new(),
            metrics,
        }
    }

    /// The index.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// A proxy opens a stream. The `Notify` is notified whenever [`Hub::take`] has something for it, and when the stream is
    /// over. `None`: there are too many.
    ///
    /// It supersedes older streams of the same process, of which only one VM at a time has one: a VM that trapped never
    /// closes its own.
    pub fn join(&mut self, hello: &Hello) -> Option<(StreamId, Arc<Notify>)> {
        let process = ProcessId(hello.process);
        let reader = if hello.replica { Reader::Replica(process) } else { Reader::Proxy(process) };
        for (_, older) in self.subscribers.extract_if(.., |_, subscriber| subscriber.reader == reader) {
            older.wake.notify_one();
        }
        if self.subscribers.len() >= PROXIES_MAX {
            self.count_subscribers();
            return None;
        }
        if !hello.replica {
            self.rejoin(Author::Proxy(process));
            self.index.note_stream(process, true);
        }
        let missed = hello.resume.and_then(|resume| {
            let generation = Generation(resume.generation);
            Some((self.index.since(reader, InstanceId(resume.instance), generation)?, generation))
        });
        let (pending, sent) = match missed {
            Some((deltas, generation)) => (Pending::Resume(deltas), generation),
            None => (Pending::Snapshot, Generation::default()),
        };
        let wake = Arc::new(Notify::new());
        wake.notify_one();
        let backlog = Backlog::new(self.index.seed());
        let subscriber = Subscriber {
            reader,
            pending,
            backlog,
            sent,
            prefixes: PrefixDecoder::default(),
            lacks_taught: false,
            wake: Arc::clone(&wake),
        };
        self.streams += 1;
        let id = StreamId(self.streams);
        self.subscribers.insert(id, subscriber);
        self.count_subscribers();
        Some((id, wake))
    }

    /// Whether a stream is still served: no newer one of its process has superseded it.
    pub fn is_open(&self, id: StreamId) -> bool {
        self.subscribers.contains_key(&id)
    }

    /// A stream has ended.
    pub fn leave(&mut self, id: StreamId, now: Timestamp) {
        self.roster.leave(id);
        let Some(subscriber) = self.subscribers.remove(&id) else { return };
        let is_last = self.subscribers.values().all(|other| other.reader != subscriber.reader);
        if let Reader::Proxy(process) = subscriber.reader
            && is_last
        {
            self.index.note_stream(process, false);
            self.depart(Author::Proxy(process), now);
        }
        self.count_subscribers();
    }

    /// A proxy reports what it did: all other proxies get it.
    pub fn receive(&mut self, id: StreamId, events: Vec<Event>, now: Timestamp) {
        for event in events {
            let Some(kind) = event.kind else {
                self.count_dropped(Dropped::Unsupported);
                continue;
            };
            self.metrics.events_in.get_or_create(&[("kind", kind.label())]).inc();
            let Some(subscriber) = self.subscribers.get_mut(&id) else { return };
            // Another replica has nothing to report: what it knows, it sends on a stream of this one's.
            let Reader::Proxy(process) = subscriber.reader else { return };
            if matches!(&kind, Kind::InFlight(report) if report.requests > 0) {
                self.turns.note(process, now);
            }
            match whole(&mut subscriber.prefixes, kind) {
                Ok(kind) => self.accept(Author::Proxy(process), kind, now),
                Err(dropped) => self.count_dropped(dropped),
            }
        }
    }

    /// Takes in an event of a proxy that `author` is or speaks for, and sends it on. A prefix must be whole.
    pub(super) fn accept(&mut self, author: Author, kind: Kind, now: Timestamp) {
        let outcome = if let Kind::Outcome(outcome) = &kind { Some(*outcome) } else { None };
        // Each replica counts what its own proxies report, so that the sums over all replicas are right.
        let is_own = matches!(author, Author::Proxy(_));
        let usage = if let Kind::UsageSeen(usage) = &kind { Some(Report::of(usage)) } else { None };
        let arrival = Arrival::of(&kind, self.index.view());
        let accepted = match (kind, author) {
            (Kind::Prefix(whole), Author::Proxy(process) | Author::Replica(process)) => {
                self.learn(process, whole, now).map(|()| None)
            }
            // Whoever knows the proxy's conversations has seen the same turns; the others get a snapshot.
            (Kind::Conversation(conversation), _) => {
                self.index.learn(Kind::Conversation(conversation), now).map(|()| None)
            }
            (kind, _) if self.index.has(&kind) => Err(Dropped::Known),
            (kind, author) => self.index.accept(author, kind, now).map(Some),
        };
        match accepted {
            Ok(Some(delta)) => {
                if let Some(outcome) = &outcome {
                    self.latency.note(outcome, self.index.view(), now);
                }
                if let Some(outcome) = outcome.filter(|_| is_own) {
                    self.outcomes.note(&outcome);
                }
                if let Some(usage) = usage {
                    self.usage.note(usage, self.index.view(), now);
                }
                if let Some(arrival) = arrival {
                    self.demand.note(arrival, self.index.view(), now);
                }
                self.broadcast(&delta);
            }
            Ok(None) => {}
            Err(dropped) => self.count_dropped(dropped),
        }
    }

    /// From now on, or after a moment, what `author` had under way counts as ended.
    pub(super) fn depart(&mut self, author: Author, now: Timestamp) {
        self.departures.push(Departure { author, due: now.plus_ms(DEPARTURE_GRACE_MS) });
    }

    /// It is back.
    pub(super) fn rejoin(&mut self, author: Author) {
        self.departures.retain(|departure| departure.author != author);
    }

    /// Learns a prefix that a proxy, or another replica, teaches. It is passed on when the round has ended.
    pub(super) fn learn(&mut self, process: ProcessId, whole: Prefix, now: Timestamp) -> Result<(), Dropped> {
        if !self.taught.note(process, &whole, self.index.view(), now) {
            return Err(Dropped::Known);
        }
        self.index.learn(whole, now)
    }

    /// Publishes an event of the controller itself.
    pub fn publish(&mut self, kind: Kind, now: Timestamp) {
        let is_pools = matches!(kind, Kind::Pools(_) | Kind::Pool(_));
        match self.index.accept(Author::Controller, kind, now) {
            Ok(delta) => self.broadcast(&delta),
            Err(dropped) => self.count_dropped(dropped),
        }
        if is_pools {
            self.outcomes.retain(self.index.view());
            self.latency.retain(self.index.view());
            self.usage.retain(self.index.view());
            self.demand.retain(self.index.view());
        }
    }

    /// What the requests at an endpoint came to, by class.
    pub fn outcomes_of(&self, endpoint: EndpointId) -> impl Iterator<Item = (&'static str, u64)> {
        self.outcomes.of(endpoint)
    }

    /// How long the first tokens at an endpoint have taken lately.
    pub fn first_tokens_at(&self, endpoint: EndpointId, now: Timestamp) -> FirstTokens {
        self.latency.of(endpoint, now)
    }

    /// How much of the prompts an endpoint found in its cache lately.
    pub fn cached_at(&self, endpoint: EndpointId, now: Timestamp) -> Cached {
        self.usage.of(endpoint, now)
    }

    /// The proxies that are connected.
    pub fn proxies(&self) -> impl Iterator<Item = &ConnectedProxy> {
        self.roster.connected().filter(|(id, _)| self.is_open(*id)).map(|(_, proxy)| proxy)
    }

    /// The proxies that were refused lately.
    pub fn refused(&self) -> impl Iterator<Item = &RefusedProxy> {
        self.roster.refused()
    }

    /// What to send to a stream next, if anything.
    pub fn take(&mut self, id: StreamId, now: Timestamp) -> Option<Batch> {
        let subscriber = self.subscribers.get_mut(&id)?;
        let after = self.index.generation();
        let stamp = Stamp { instance: self.index.instance(), before: subscriber.sent, after };
        let pending = std::mem::replace(&mut subscriber.pending, Pending::Nothing);
        let batch = match pending {
            Pending::Snapshot => {
                self.metrics.snapshots.inc();
                subscriber.lacks_taught = false;
                self.taught.note_snapshot(subscriber.reader.process());
                Batch::Snapshot(stamp, self.index.snapshot(subscriber.reader, now))
            }
            Pending::Resume(mut deltas) => {
                self.metrics.resumes.inc();
                deltas.append(&mut subscriber.backlog.take());
                Batch::Resumed(stamp, deltas)
            }
            Pending::Nothing => {
                let deltas = subscriber.backlog.take();
                if deltas.is_empty() {
                    return self.take_taught(id);
                }
                Batch::Deltas(stamp, deltas)
            }
        };
        subscriber.sent = after;
        if let Batch::Resumed(_, deltas) | Batch::Deltas(_, deltas) = &batch {
            for delta in deltas {
                self.metrics.events_out.get_or_create(&[("kind", delta.label)]).inc();
            }
        }
        Some(batch)
    }

    fn take_taught(&mut self, id: StreamId) -> Option<Batch> {
        let subscriber = self.subscribers.get_mut(&id)?;
        if !std::mem::take(&mut subscriber.lacks_taught) {
            return None;
        }
        let after = self.index.generation();
        let stamp = Stamp { instance: self.index.instance(), before: subscriber.sent, after };
        let events = self.passed_on.as_ref()?.unknown_to(subscriber.reader.process(), self.index.view());
        if events.is_empty() {
            return None;
        }
        subscriber.sent = after;
        self.metrics.events_out.get_or_create(&[("kind", "prefix")]).inc_by(u64_len(events.len()));
        Some(Batch::Taught(stamp, events))
    }

    /// Every stream lacks what others taught in the round that has ended, unless it gets a snapshot anyway.
    pub(super) fn mark_taught(&mut self) {
        for subscriber in self.subscribers.values_mut() {
            subscriber.lacks_taught = !matches!(subscriber.pending, Pending::Snapshot);
            subscriber.wake.notify_one();
        }
    }

    /// Drops what has become too old. Call it a few times a second.
    pub fn tick(&mut self, now: Timestamp) {
        let due: Vec<Departure> = self.departures.extract_if(.., |departure| departure.due <= now).collect();
        for Departure { author, .. } in due {
            if let Author::Proxy(process) | Author::Replica(process) = author {
                self.turns.forget(process);
            }
            for OriginId(origin) in self.index.origins_of(author) {
                self.publish(Kind::Gone(Gone { origin }), now);
            }
        }
        if let Some(proxies) = self.turns.changed(now) {
            self.publish(Kind::Proxies(proxies), now);
        }
        if self.subscribers.values().all(|subscriber| !subscriber.lacks_taught) {
            self.passed_on = None;
        }
        self.end_round(now);
        if now >= self.current_at {
            self.current_at = now.plus_ms(CURRENT_INTERVAL_MS);
            // No change, hence no generation: a proxy that resumes need not have missed one. It brings the generation
            // along to a proxy that alone is busy, which gets none of its own events back, and would ask to resume at
            // one that is long gone from the ring.
            self.broadcast(&Arc::new(Delta::new(Author::Controller, Kind::Current(Current {}))));
            let own = Delta::new(Author::Controller, Kind::Proxies(self.turns.own()));
            self.queue(&Arc::new(own), |reader| matches!(reader, Reader::Replica(_)));
        }
        if now >= self.expire_at {
            self.expire_at = now.plus_ms(EXPIRE_INTERVAL_MS);
            self.index.expire(now);
        }
    }

    /// Queues a delta for all that it is for.
    pub(super) fn broadcast(&mut self, delta: &Arc<Delta>) {
        self.queue(delta, |reader| reader.wants(delta));
    }

    fn queue(&mut self, delta: &Arc<Delta>, is_for: impl Fn(Reader) -> bool) {
        for subscriber in self.subscribers.values_mut().filter(|to| is_for(to.reader)) {
            if matches!(subscriber.pending, Pending::Snapshot) {
                continue;
            }
            match subscriber.backlog.add(Arc::clone(delta)) {
                Added::Queued => {}
                Added::Coalesced => {
                    self.metrics.coalesced.inc();
                }
                Added::Overflowed => {
                    self.metrics.overflowed.inc();
                    subscriber.pending = Pending::Snapshot;
                }
            }
            subscriber.wake.notify_one();
        }
    }

    pub(super) fn count_refused(&self, reason: &'static str) {
        self.metrics.refused.get_or_create(&[("reason", reason)]).inc();
    }

    pub(super) fn count_dropped(&self, dropped: Dropped) {
        self.metrics.events_dropped.get_or_create(&[("reason", dropped.label())]).inc();
    }

    fn count_subscribers(&self) {
        self.metrics.proxies.set(i64::try_from(self.subscribers.len()).unwrap_or(i64::MAX));
    }
}

/// An event whose prefix, if it is one, is whole: on the stream of `prefixes`, each continues the one before.
pub(super) fn whole(prefixes: &mut PrefixDecoder, kind: Kind) -> Result<Kind, Dropped> {
    match kind {
        Kind::Prefix(prefix) => prefixes.decode(&prefix).map(Kind::Prefix).map_err(|_| Dropped::Broken),
        kind => Ok(kind),
    }
}
