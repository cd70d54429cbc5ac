//! Admission: the gate of a pool, which lets some conversations run warm while the others wait in the proxy.
//!
//! ```text
//!   request ─► verdict ─┬─ open, placed, room ──────────────────────► sent ─► turn under way ─► ended (keeps its place)
//!                       └─ full ─► held (in its proxy) ─► next ─► room ─┘
//! ```
//!
//! When more conversations are under way than the engines' KV caches can hold, every choice of an endpoint loses: each turn evicts
//! another conversation's prefix, and all are computed again and again. The gate gives *places*: a conversation with a place goes to
//! its endpoint at once, and the footprints of those with places stay within what the endpoint holds. The others wait, in an order
//! that is fair to their tenants. A fixed bound on concurrent requests, the obvious other way, counts a request of ten tokens like
//! one of a hundred thousand, and forgets a conversation as soon as its response has ended.
//!
//! A value, as the [`crate::view::View`] is: events go in, verdicts come out. Every VM has its own; they agree because they apply
//! the same events in nearly the same order, and what they disagree on for some milliseconds, the next event mends.

mod queue;

pub use queue::{Asked, HeldKey, Waiting};

use crate::ids::{CellHash, ConversationId, EndpointId, OriginId, RequestKey};
use crate::time::Timestamp;
use crate::wire::{self, Hold};
use queue::Queue;

/// The gate of one pool. See the module.
#[derive(Clone, Debug)]
pub struct Admission {
    hold: Hold,
    queue: Queue,
}

/// An endpoint that may be chosen, with what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Tokens that it holds, in all tiers.
    pub tokens: u64,
}

/// What the gate says to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may go to any endpoint: no room is short.
    Open,
    /// Its conversation has a place at this endpoint, and goes there.
    Placed(EndpointId),
    /// It may take a place at one of these.
    Room(Vec<EndpointId>),
    /// It has to wait.
    Full,
}

/// A turn that was sent to an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// The request.
    pub key: RequestKey,
    /// Where it was sent.
    pub endpoint: EndpointId,
    /// The chain of its prompt.
    pub chain: &'a [CellHash],
    /// The turn that it is.
    pub turn: &'a wire::Turn,
}

// === impl Admission ===

impl Admission {
    /// A gate that has seen nothing. `seed` is random bits that no client knows.
    pub fn new(hold: Hold, seed: u64) -> Self {
        let _ = seed;
        Self { hold, queue: Queue::default() }
    }

    /// Changes how long requests may be held, and the tenants.
    pub fn set_hold(&mut self, hold: Hold) {
        self.hold = hold;
    }

    /// How long requests may be held.
    pub fn hold(&self) -> &Hold {
        &self.hold
    }

    /// Those that are held.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Whether conversations are to be followed: requests are sent with their turns.
    pub fn follows(&self) -> bool {
        self.hold.room_ms_max > 0
    }

    /// The conversation that a prompt continues.
    pub fn conversation(&self, chain: &[CellHash]) -> Option<ConversationId> {
        let _ = chain;
        None
    }

    /// The endpoint at which a conversation has a place.
    pub fn place(&self, conversation: ConversationId) -> Option<EndpointId> {
        let _ = conversation;
        None
    }

    /// A turn was sent.
    pub fn sent(&mut self, sent: Sent<'_>, rooms: &[Room], now: Timestamp) {
        let _ = (sent, rooms, now);
    }

    /// A turn has ended.
    pub fn ended(&mut self, key: RequestKey, output_tokens: u64, now: Timestamp) {
        let _ = (key, output_tokens, now);
    }

    /// A request is held.
    pub fn held(&mut self, held: &wire::Held, now: Timestamp) {
        self.queue.add(held, now);
    }

    /// A request is held no more.
    pub fn released(&mut self, key: HeldKey) {
        self.queue.remove(key);
    }

    /// A conversation of a snapshot.
    pub fn restore(&mut self, conversation: &wire::Conversation, now: Timestamp) {
        let _ = (conversation, now);
    }

    /// Every conversation, for a snapshot.
    pub fn export(&self, now: Timestamp) -> impl Iterator<Item = wire::Conversation> + '_ {
        let _ = now;
        std::iter::empty()
    }

    /// An origin is gone: what it held and had under way is.
    pub fn drop_origin(&mut self, origin: OriginId) {
        self.queue.drop_origin(origin);
    }

    /// An endpoint has lost its cache, or is gone.
    pub fn forget(&mut self, endpoint: EndpointId) {
        let _ = endpoint;
    }

    /// Drops what is too old. About once a second.
    pub fn expire(&mut self, now: Timestamp) {
        let _ = now;
    }

    /// What becomes of a request that comes now.
    pub fn verdict(&self, asked: &Asked, rooms: &[Room], now: Timestamp) -> Verdict {
        let _ = (asked, rooms, now);
        Verdict::Open
    }

    /// The held request that goes on next, if it can now: the same in all VMs. Whoever holds it sends it.
    pub fn next(&self, rooms: &[Room], now: Timestamp) -> Option<(HeldKey, Verdict)> {
        let _ = now;
        (!rooms.is_empty()).then(|| self.queue.first().map(|key| (key, Verdict::Open)))?
    }

    /// The held request that is first in order, whether it can go on or not.
    pub fn first(&self) -> Option<HeldKey> {
        self.queue.first()
    }

    /// How long a request that is held now is likely to wait, in milliseconds; `None`: nobody knows.
    pub fn wait_ms(&self, asked: &Asked, now: Timestamp) -> Option<u64> {
        let _ = (asked, now);
        None
    }
}
