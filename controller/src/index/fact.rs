//! One accepted event: encoded once, then shared by the ring and by every proxy's backlog.

use bytes::Bytes;
use prost::Message;
use warmpath_core::ids::{EndpointId, OriginId, ProcessId};
use warmpath_core::wire::{Authority, Event, Kind};

/// Where an event comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// The controller itself.
    Controller,
    /// A VM of this proxy process.
    Proxy(ProcessId),
}

/// An event that changed the view.
#[derive(Debug, PartialEq, Eq)]
pub struct Fact {
    /// Where it comes from: that proxy process need not receive it.
    pub author: Author,
    /// What it may replace in a backlog.
    pub place: Place,
    /// Its kind's name in metrics.
    pub label: &'static str,
    /// The encoded event.
    pub bytes: Bytes,
}

/// How a fact relates to others that wait in the same backlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Says something of its own: keeps its turn.
    Own,
    /// Replaces an older load of the same origin at the same endpoint.
    Load {
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
    /// Replaces older figures of the same engine, but only of the same health and capacity: a change of
    /// either makes the receiver drop cells, and must not be hidden by the change back.
    Engine {
        /// The endpoint.
        endpoint: EndpointId,
        /// Its health, as on the wire.
        health: i32,
        /// What bounds its cells: the tokens that it can hold on its GPU, where that is known, and below.
        cache_tokens: u64,
        /// Whether that includes the GPU.
        is_gpu_known: bool,
    },
    /// Takes back what one origin said: nothing of that origin may move across it.
    Ends {
        /// The origin.
        origin: OriginId,
    },
    /// Replaces the older list of proxies.
    Proxies,
    /// Changes what endpoints exist: nothing may move across it.
    Barrier,
}

/// What a newer fact may replace an older one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// One origin's load at one endpoint.
    Load(OriginId, EndpointId),
    /// An origin's sign of life.
    Alive(OriginId),
    /// One engine's figures.
    Engine(EndpointId),
    /// The list of proxies.
    Proxies,
}

// === impl Author ===

impl Author {
    /// Whether events of this kind are its to publish.
    pub fn may_publish(self, kind: &Kind) -> bool {
        match kind.authority() {
            Authority::Either => true,
            Authority::Controller => self == Self::Controller,
            Authority::Proxy => self != Self::Controller,
        }
    }
}

// === impl Fact ===

impl Fact {
    /// Encodes an event of `author`.
    pub fn new(author: Author, kind: Kind) -> Self {
        let (label, place) = (kind.label(), Place::of(&kind));
        Self { author, place, label, bytes: Event::from(kind).encode_to_vec().into() }
    }
}

// === impl Place ===

impl Place {
    fn of(kind: &Kind) -> Self {
        match kind {
            Kind::Pools(_) => Self::Barrier,
            Kind::Proxies(_) => Self::Proxies,
            Kind::Gone(gone) => Self::Ends { origin: OriginId(gone.origin) },
            Kind::InFlight(load) => {
                Self::Load { origin: OriginId(load.origin), endpoint: EndpointId(load.endpoint) }
            }
            Kind::Alive(alive) => Self::Alive { origin: OriginId(alive.origin) },
            Kind::EngineStatus(facts) => Self::Engine {
                endpoint: EndpointId(facts.endpoint),
                health: facts.health,
                cache_tokens: facts.capacity_tokens.unwrap_or(0).saturating_add(facts.kv_below_gpu_tokens),
                is_gpu_known: facts.capacity_tokens.is_some(),
            },
            Kind::Routed(_) | Kind::Observed(_) | Kind::Failure(_) | Kind::Prefix(_) | Kind::UsageSeen(_) => {
                Self::Own
            }
        }
    }

    /// What it may replace; `None` if nothing.
    pub fn key(self) -> Option<Key> {
        match self {
            Self::Load { origin, endpoint } => Some(Key::Load(origin, endpoint)),
            Self::Alive { origin } => Some(Key::Alive(origin)),
            Self::Engine { endpoint, .. } => Some(Key::Engine(endpoint)),
            Self::Proxies => Some(Key::Proxies),
            Self::Own | Self::Ends { .. } | Self::Barrier => None,
        }
    }
}

// === impl Key ===

impl Key {
    /// Whether it is about this origin.
    pub fn is_of(self, origin: OriginId) -> bool {
        matches!(self, Self::Load(of, _) | Self::Alive(of) if of == origin)
    }
}
