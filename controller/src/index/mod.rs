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

pub use delta::{Author, CoalesceKey, Coalescing, Delta, Room};
pub use ring::Ring;

use std::sync::Arc;
use warmpath_core::hash::{SeededMap, seeded};
use warmpath_core::ids::{EndpointId, Generation, InstanceId, OriginId, ProcessId, ResponseId};
use warmpath_core::time::Timestamp;
use warmpath_core::view::{Applied, Pool, View};
use warmpath_core::wire::{Event, Kind, Prefix};

/// The view with its history.
#[derive(Debug)]
pub struct Index {
    instance: InstanceId,
    seed: u64,
    view: View,
    ring: Ring,
    /// The proxy process whose VM each origin is.
    origins: SeededMap<OriginId, ProcessId>,
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
        let event = Event { kind: Some(kind) };
        match self.view.apply(&event, now) {
            // What was cut in this view will be cut in the same way by others.
            Applied::Changed | Applied::Cut => {}
            Applied::Unknown => return Err(Dropped::Unknown),
            Applied::Unsupported => return Err(Dropped::Unsupported),
            Applied::Detached => return Err(Dropped::Broken),
        }
        let kind = event.kind.ok_or(Dropped::Unsupported)?;
        if let Author::Proxy(process) = author {
            self.note_origin(process, &kind);
        }
        let delta = Arc::new(Delta::new(author, kind));
        self.ring.push(Arc::clone(&delta));
        Ok(delta)
    }

    /// Learns a whole prefix that a proxy teaches. It is no change that a proxy that resumes must have: what is taught is
    /// passed on by other means.
    pub fn learn(&mut self, prefix: Prefix, now: Timestamp) -> Result<(), Dropped> {
        match self.view.apply(&prefix.into(), now) {
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

    /// What `process` missed since `generation` of `instance`, but for its own events. `None`: it
    /// needs a snapshot.
    pub fn since(
        &self,
        process: ProcessId,
        instance: InstanceId,
        generation: Generation,
    ) -> Option<Vec<Arc<Delta>>> {
        if instance != self.instance {
            return None;
        }
        let deltas = self.ring.since(generation)?;
        Some(deltas.filter(|delta| delta.author != Author::Proxy(process)).cloned().collect())
    }

    /// The whole view for `process`. Requests of its own origins are left out: it knows them better.
    pub fn snapshot(&self, process: ProcessId) -> Vec<Event> {
        let mut events = self.view.export();
        events.retain(|event| match &event.kind {
            Some(Kind::InFlight(report)) => self.origins.get(&OriginId(report.origin)) != Some(&process),
            _ => true,
        });
        events
    }

    /// Origins that `process` was the last to speak for.
    pub fn origins_of(&self, process: ProcessId) -> Vec<OriginId> {
        self.origins.iter().filter(|(_, of)| **of == process).map(|(origin, _)| *origin).collect()
    }

    /// Requests that each process has under way.
    pub fn requests_in_flight(&self) -> SeededMap<ProcessId, u32> {
        let mut requests: SeededMap<ProcessId, u32> = SeededMap::with_hasher(seeded(self.seed));
        let slots = self.view.pools().iter().flat_map(Pool::slots);
        for endpoint in slots.filter_map(|slot| self.view.endpoint(*slot)) {
            for report in endpoint.in_flight_reports() {
                if let Some(process) = self.origins.get(&OriginId(report.origin)) {
                    let sum = requests.entry(*process).or_default();
                    *sum = sum.saturating_add(report.requests);
                }
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

    fn note_origin(&mut self, process: ProcessId, kind: &Kind) {
        let origin = match kind {
            Kind::InFlight(report) => report.origin,
            Kind::Alive(alive) => alive.origin,
            Kind::Gone(gone) => {
                self.origins.remove(&OriginId(gone.origin));
                return;
            }
            _ => return,
        };
        self.origins.insert(OriginId(origin), process);
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
        }
    }
}
