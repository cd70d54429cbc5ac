//! One accepted event: encoded once, then shared by the ring and by every subscriber's backlog.

use bytes::Bytes;
use prost::Message;
use warmpath_core::admission::HeldKey;
use warmpath_core::ids::{EndpointId, OriginId, ProcessId};
use warmpath_core::wire::{Authority, EngineStatus, Event, Kind};

/// Where an event comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// The controller itself.
    Controller,
    /// A VM of this proxy process.
    Proxy(ProcessId),
    /// Another replica of the controller, for one of its proxies.
    Replica(ProcessId),
}

/// Who reads deltas and snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// This proxy process. It knows its own events.
    Proxy(ProcessId),
    /// Another replica: it scrapes engines and follows the cluster by itself, and has streams to the other replicas.
    Replica(ProcessId),
}

/// An event that changed the view.
#[derive(Debug, PartialEq, Eq)]
pub struct Delta {
    /// Where it comes from: that proxy process need not receive it.
    pub author: Author,
    /// How it relates to others in a backlog.
    pub coalescing: Coalescing,
    /// Its kind's name in metrics.
    pub label: &'static str,
    /// The encoded event.
    pub bytes: Bytes,
}

/// How a delta relates to others that wait in the same backlog. A newer one replaces an older one that is equal in this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coalescing {
    /// Neither replaces another nor is replaced.
    Never,
    /// Replaces what an origin had in flight at an endpoint.
    InFlight {
        /// The origin.
        origin: OriginId,
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// Replaces an older sign of life of the same origin.
    Alive {
        /// The origin.
        origin: OriginId,
    },
    /// Replaces what was known of the same held request: that it is held, or no more. Its number is used once, so the last is right.
    Held {
        /// Names it.
        key: HeldKey,
    },
    /// Replaces an older status of the same engine, but only of the same process and health and with room for as many cells: a
    /// change makes the receiver drop cells, and the change back must not hide that.
    Engine {
        /// The endpoint.
        endpoint: EndpointId,
        /// Its health, as on the wire.
        health: i32,
        /// What bounds its cells.
        room: Room,
        /// Its process.
        incarnation: u64,
    },
    /// Replaces the older list of proxies.
    Proxies,
    /// Replaces the controller's older sign of life.
    Current,
    /// Ends an origin: no delta of that origin may move across it.
    Ends {
        /// The origin.
        origin: OriginId,
    },
    /// Changes what endpoints exist: no delta may move across it.
    Barrier,
}

/// The tokens that an engine can hold on its GPU and in the tiers below it. A receiver turns the sum into cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    tokens: u64,
    /// Whether the GPU's are among them; if they are unknown, the receiver adds those that it knew before.
    has_gpu: bool,
}

/// What a newer delta may replace an older one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CoalesceKey {
    /// What one origin has in flight at one endpoint.
    InFlight(OriginId, EndpointId),
    /// An origin's sign of life.
    Alive(OriginId),
    /// A held request.
    Held(HeldKey),
    /// The status of one engine.
    Engine(EndpointId),
    /// The list of proxies.
    Proxies,
    /// The controller's sign of life.
    Current,
}

// === impl Author ===

impl Author {
    /// Whether it has authority over events of this kind.
    pub fn may_publish(self, kind: &Kind) -> bool {
        match kind.authority() {
            Authority::Either => true,
            Authority::Controller => self == Self::Controller,
            Authority::Proxy => self != Self::Controller,
        }
    }
}

// === impl Reader ===

impl Reader {
    /// The process that reads.
    pub fn process(self) -> ProcessId {
        match self {
            Self::Proxy(process) | Self::Replica(process) => process,
        }
    }

    /// Whether a delta is for it.
    pub fn wants(self, delta: &Delta) -> bool {
        match (self, delta.author) {
            (Self::Proxy(reader), Author::Proxy(author) | Author::Replica(author)) => reader != author,
            (Self::Proxy(_), Author::Controller) | (Self::Replica(_), Author::Proxy(_)) => true,
            (Self::Replica(_), Author::Replica(_)) => false,
            (Self::Replica(_), Author::Controller) => matches!(delta.coalescing, Coalescing::Ends { .. }),
        }
    }
}

// === impl Delta ===

impl Delta {
    /// Encodes an event of `author`.
    pub fn new(author: Author, kind: Kind) -> Self {
        let (label, coalescing) = (kind.label(), Coalescing::of(&kind));
        Self { author, coalescing, label, bytes: Event::from(kind).encode_to_vec().into() }
    }
}

// === impl Coalescing ===

impl Coalescing {
    fn of(kind: &Kind) -> Self {
        match kind {
            Kind::Pools(_) | Kind::Pool(_) => Self::Barrier,
            Kind::Proxies(_) => Self::Proxies,
            Kind::Gone(gone) => Self::Ends { origin: OriginId(gone.origin) },
            Kind::InFlight(report) => {
                Self::InFlight { origin: OriginId(report.origin), endpoint: EndpointId(report.endpoint) }
            }
            Kind::Alive(alive) => Self::Alive { origin: OriginId(alive.origin) },
            Kind::EngineStatus(status) => Self::Engine {
                endpoint: EndpointId(status.endpoint),
                health: status.health,
                room: Room::of(status),
                incarnation: status.incarnation,
            },
            Kind::Current(_) => Self::Current,
            Kind::Held(held) => Self::held(held.origin, held.number),
            Kind::Released(released) => Self::held(released.origin, released.number),
            Kind::Routed(_)
            | Kind::Outcome(_)
            | Kind::Prefix(_)
            | Kind::UsageSeen(_)
            | Kind::Stored(_)
            | Kind::TransferSeen(_)
            | Kind::Ended(_)
            | Kind::Conversation(_)
            | Kind::Reported(_)
            | Kind::Reporting(_)
            | Kind::WakeTime(_) => Self::Never,
        }
    }

    fn held(origin: u64, number: u64) -> Self {
        Self::Held { key: HeldKey { origin: OriginId(origin), number } }
    }

    /// What it may replace; `None` if nothing.
    pub fn key(self) -> Option<CoalesceKey> {
        match self {
            Self::InFlight { origin, endpoint } => Some(CoalesceKey::InFlight(origin, endpoint)),
            Self::Alive { origin } => Some(CoalesceKey::Alive(origin)),
            Self::Held { key } => Some(CoalesceKey::Held(key)),
            Self::Engine { endpoint, .. } => Some(CoalesceKey::Engine(endpoint)),
            Self::Proxies => Some(CoalesceKey::Proxies),
            Self::Current => Some(CoalesceKey::Current),
            Self::Never | Self::Ends { .. } | Self::Barrier => None,
        }
    }
}

// === impl Room ===

impl Room {
    fn of(status: &EngineStatus) -> Self {
        let gpu_tokens = status.capacity_tokens;
        let tokens = gpu_tokens.unwrap_or(0).saturating_add(status.kv_below_gpu_tokens);
        Self { tokens, has_gpu: gpu_tokens.is_some() }
    }
}

// === impl CoalesceKey ===

impl CoalesceKey {
    /// Whether it is about this origin.
    pub fn is_of(self, origin: OriginId) -> bool {
        match self {
            Self::InFlight(of, _) | Self::Alive(of) => of == origin,
            Self::Held(key) => key.origin == origin,
            Self::Engine(_) | Self::Proxies | Self::Current => false,
        }
    }
}
