//! The controller's own view, and the numbering of its changes.
//!
//! ```text
//!   telemetry, config ──┐                 ┌─► ring (recent deltas, for resuming)
//!                       ├─► Index::accept ┤
//!   proxies ────────────┘     (view)      └─► delta, for every other proxy
//! ```
//!
//! Pure: time is an argument. Each accepted event is one generation of this instance.

mod delta;
mod ring;

pub use delta::{Author, CoalesceKey, Coalescing, Delta, Reader, Room};

use ring::Ring;
use std::collections::BTreeSet;
use std::sync::Arc;
use warmpath_core::hash::{SeededMap, seeded};
use warmpath_core::ids::{EndpointId, Generation, InstanceId, OriginId, ProcessId, ResponseId};
use warmpath_core::time::Timestamp;
use warmpath_core::view::{Applied, Pool, View};
use warmpath_core::wire::{Event, Kind};

/// The view with its history.
#[derive(Debug)]
pub struct Index {
    instance: InstanceId,
    seed: u64,
    view: View,
    ring: Ring,
    /// Who was the last to speak for each origin, which is a VM of a proxy process.
    origins: SeededMap<OriginId, Author>,
    /// The processes that have a stream here.
    streams: BTreeSet<ProcessId>,
}

/// Why an event was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// It names an endpoint or a pool that is not configured (any more).
    Unknown,
    /// Its kind is newer than this controller.
    Unsupported,
    /// Its author has no authority over its kind.
    NotYours,
    /// It is a prefix that does not continue the one before it.
    Broken,
    /// The view knows it already.
    Known,
    /// Another replica relays it of a proxy that reports here by now.
    Outdated,
}

// === impl Index ===

impl Index {
    /// An empty view. `instance` differs from that of every earlier process; `seed` as in [`View::new`].
    pub fn new(instance: InstanceId, cell_bytes: usize, seed: u64) -> Self {
        Self {
            instance,
            seed,
            view: View::new(cell_bytes, seed),
            ring: Ring::default(),
            origins: SeededMap::with_hasher(seeded(seed)),
            streams: BTreeSet::new(),
        }
    }

    /// The instance that counts the generations.
    pub fn instance(&self) -> InstanceId {
        self.instance
    }

    /// The seed of the hashes of what proxies choose.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Changes so far.
    pub fn generation(&self) -> Generation {
        self.ring.generation()
    }

    /// The view.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Applies an event of `author`; the controller has authority over more kinds than a proxy.
    pub fn accept(&mut self, author: Author, kind: Kind, now: Timestamp) -> Result<Arc<Delta>, Dropped> {
        if !author.may_publish(&kind) {
            return Err(Dropped::NotYours);
        }
        if let Author::Replica(_) = author
            && !self.may_relay(author, &kind)
        {
            return Err(Dropped::Outdated);
        }
        let event = Event { kind: Some(kind) };
        match self.view.apply(&event, now) {
            // What was cut in this view will be cut in the same way by others.
            Applied::Changed | Applied::Cut => {}
            Applied::Unknown => return Err(Dropped::Unknown),
            Applied::Unsupported => return Err(Dropped::Unsupported),
            Applied::Detached => return Err(Dropped::Broken),
        }
        let kind = event.kind.ok_or(Dropped::Unsupported)?;
        self.note_origin(author, &kind);
        let delta = Arc::new(Delta::new(author, kind));
        self.ring.push(Arc::clone(&delta));
        Ok(delta)
    }

    /// Learns what a proxy teaches: a whole prefix or a conversation. It is no change that a proxy that resumes must have: what is
    /// taught is passed on by other means, or known to all proxies that the author knew.
    pub fn learn(&mut self, taught: impl Into<Event>, now: Timestamp) -> Result<(), Dropped> {
        match self.view.apply(&taught.into(), now) {
            Applied::Changed | Applied::Cut => Ok(()),
            Applied::Unknown => Err(Dropped::Unknown),
            Applied::Unsupported => Err(Dropped::Unsupported),
            Applied::Detached => Err(Dropped::Broken),
        }
    }

    /// Whether the view knows already what an event says for good: every proxy teaches the same stored responses.
    pub fn has(&self, kind: &Kind) -> bool {
        let Kind::Stored(stored) = kind else { return false };
        let keeper = self.view.keeper(ResponseId(stored.response));
        keeper.is_some() && keeper == self.view.slot(EndpointId(stored.endpoint))
    }

    /// What `reader` missed since `generation` of `instance`. `None`: it needs a snapshot.
    pub fn since(
        &self,
        reader: Reader,
        instance: InstanceId,
        generation: Generation,
    ) -> Option<Vec<Arc<Delta>>> {
        if instance != self.instance {
            return None;
        }
        let deltas = self.ring.since(generation)?;
        Some(deltas.filter(|delta| reader.wants(delta)).cloned().collect())
    }

    /// The whole view for `reader`. What it knows better is left out: the requests of its own origins, and for another replica
    /// all that does not come from this one's proxies. What endpoints hold and which conversations there are is not known by its
    /// author, and adds up.
    pub fn snapshot(&self, reader: Reader, now: Timestamp) -> Vec<Event> {
        let author_of = |origin: u64| self.origins.get(&OriginId(origin)).copied();
        let is_own = |origin: u64| matches!(author_of(origin), Some(Author::Proxy(_)));
        let mut events = self.view.export(now);
        events.retain(|event| match (reader, &event.kind) {
            (Reader::Proxy(process), Some(Kind::InFlight(report))) => {
                author_of(report.origin) != Some(Author::Proxy(process))
            }
            (Reader::Proxy(process), Some(Kind::Held(held))) => {
                author_of(held.origin) != Some(Author::Proxy(process))
            }
            (Reader::Proxy(_), _) | (_, Some(Kind::Prefix(_) | Kind::Stored(_) | Kind::Conversation(_))) => {
                true
            }
            (_, Some(Kind::InFlight(report))) => is_own(report.origin),
            (_, Some(Kind::Held(held))) => is_own(held.origin),
            (_, Some(Kind::Routed(routed))) => is_own(routed.origin),
            _ => false,
        });
        events
    }

    /// Origins that `author` was the last to speak for.
    pub fn origins_of(&self, author: Author) -> Vec<OriginId> {
        self.origins.iter().filter(|(_, of)| **of == author).map(|(origin, _)| *origin).collect()
    }

    /// A process has a stream here: what other replicas relay of it is older than what it reports.
    pub fn note_stream(&mut self, process: ProcessId, is_open: bool) {
        if is_open {
            self.streams.insert(process);
        } else {
            self.streams.remove(&process);
        }
    }

    /// Whether a replica may speak for the origin that an event is about. A proxy moves between replicas: what the last one
    /// relays of it may come after what it reports here.
    fn may_relay(&self, replica: Author, kind: &Kind) -> bool {
        let origin = match kind {
            Kind::InFlight(report) => report.origin,
            Kind::Alive(alive) => alive.origin,
            Kind::Held(held) => held.origin,
            Kind::Gone(gone) => return self.origins.get(&OriginId(gone.origin)) == Some(&replica),
            _ => return true,
        };
        match self.origins.get(&OriginId(origin)) {
            Some(Author::Proxy(process)) => !self.streams.contains(process),
            _ => true,
        }
    }

    /// Requests that each process has under way.
    pub fn requests_in_flight(&self) -> SeededMap<ProcessId, u32> {
        let mut requests: SeededMap<ProcessId, u32> = SeededMap::with_hasher(seeded(self.seed));
        let slots = self.view.pools().iter().flat_map(Pool::slots);
        for endpoint in slots.filter_map(|slot| self.view.endpoint(*slot)) {
            for report in endpoint.in_flight_reports() {
                if let Some(Author::Proxy(process)) = self.origins.get(&OriginId(report.origin)) {
                    let sum = requests.entry(*process).or_default();
                    *sum = sum.saturating_add(report.requests);
                }
            }
        }
        requests
    }

    /// Requests that each process holds.
    pub fn requests_held(&self) -> SeededMap<ProcessId, u32> {
        let mut requests: SeededMap<ProcessId, u32> = SeededMap::with_hasher(seeded(self.seed));
        let gates = self.view.pools().iter().filter_map(|pool| self.view.admission(pool.name()));
        for waiting in gates.flat_map(|gate| gate.queue().iter()) {
            if let Some(Author::Proxy(process)) = self.origins.get(&waiting.key.origin) {
                let sum = requests.entry(*process).or_default();
                *sum = sum.saturating_add(1);
            }
        }
        requests
    }

    /// Drops the requests of origins that fell silent. Proxies do the same by their own clocks, so no event is published.
    pub fn expire(&mut self, now: Timestamp) {
        for origin in self.view.expire(now) {
            self.origins.remove(&origin);
        }
    }

    fn note_origin(&mut self, author: Author, kind: &Kind) {
        let origin = match kind {
            Kind::InFlight(report) => report.origin,
            Kind::Alive(alive) => alive.origin,
            Kind::Held(held) => held.origin,
            // Nothing else may say that an origin reports here by now, and one that is not known holds nothing.
            Kind::Released(released) if self.origins.contains_key(&OriginId(released.origin)) => {
                released.origin
            }
            Kind::Gone(gone) => {
                self.origins.remove(&OriginId(gone.origin));
                return;
            }
            _ => return,
        };
        self.origins.insert(OriginId(origin), author);
    }
}

// === impl Dropped ===

impl Dropped {
    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Unsupported => "unsupported",
            Self::NotYours => "not_yours",
            Self::Broken => "broken",
            Self::Known => "known",
            Self::Outdated => "outdated",
        }
    }
}
