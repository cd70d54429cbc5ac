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

mod followed;
mod gaps;
mod order;
mod plan;
mod queue;
mod shares;
mod switch;
mod wait;

pub use followed::{CONVERSATIONS_MAX, TURNS_MAX};
pub use queue::{Asked, HELD_MAX, HeldKey, HeldSum, Queue, Waiting};

use crate::ids::{CellHash, ConversationId, EndpointId, OriginId, RequestKey, TenantId};
use crate::num::float;
use crate::time::Timestamp;
use crate::wire::{self, Hold};
use followed::{Begun, Followed};
use gaps::{GONE_MS, Gaps};
use shares::Shares;
use switch::Switch;
use wait::Drained;

/// The lease until an engine's speed is known, in milliseconds: the Qwen3-32B on two H100 computes what it holds in eighteen seconds.
const BREAK_EVEN_MS_DEFAULT: u64 = 18_000;
/// A conversation is small that takes up to this share of what an endpoint holds: one of as many again hardly matters, and it would
/// wait for the places of large ones.
const SMALL_SHARE: f64 = 0.02;

/// How long requests that wait for an endpoint stay after the first ones came in a list of all pools, in milliseconds. Such a list
/// begins a stream to a controller, and the proxy's clusters have streams of their own, which may come later: with the shipped
/// configuration they try again every two seconds. Of a change on a stream that is open, the controller sends the clusters first.
const SETTLE_MS: u64 = 3_000;

/// The gate of one pool. See the module.
#[derive(Clone, Debug)]
pub struct Admission {
    hold: Hold,
    queue: Queue,
    followed: Followed,
    shares: Shares,
    switch: Switch,
    drained: Drained,
    /// The pauses after first turns, and after later ones.
    gaps: [Gaps; 2],
    /// The leases that follow.
    leases_ms: [u64; 2],
    /// What the engines were like a moment ago.
    engines: Engines,
    /// Until when requests that wait for an endpoint stay, though the pool has one.
    settled_at: Timestamp,
}

/// An endpoint that may be chosen, with what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Tokens that it holds, in all tiers.
    pub tokens: u64,
}

/// The engines of a pool, as far as the gate looks at them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Engines {
    /// Tokens that the mean endpoint holds.
    pub room_tokens: u64,
    /// How long the mean endpoint takes to compute so many, in milliseconds.
    pub refill_ms: u64,
    /// How long the prefill takes that waits at the mean endpoint, in milliseconds.
    pub backlog_ms: u64,
    /// Whether one is believed to hold nearly as much as it can.
    pub is_near_full: bool,
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
    /// Cells of the chain that an endpoint holds.
    pub found_cells: u32,
}

// === impl Admission ===

impl Admission {
    /// A gate that has seen nothing. `seed` is random bits that no client knows.
    pub fn new(hold: Hold, seed: u64) -> Self {
        let mut shares = Shares::default();
        shares.set(&hold);
        Self {
            hold,
            queue: Queue::default(),
            followed: Followed::new(seed),
            shares,
            switch: Switch::default(),
            drained: Drained::default(),
            gaps: [Gaps::default(); 2],
            leases_ms: [BREAK_EVEN_MS_DEFAULT; 2],
            engines: Engines::default(),
            settled_at: Timestamp::ZERO,
        }
    }

    /// Changes how long requests may be held, and the tenants.
    pub fn set_hold(&mut self, hold: Hold) {
        self.shares.set(&hold);
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

    /// Whether requests of so many tokens are to be sent with their turns: where room is short, and they take much of it.
    pub fn follows(&self, tokens: u64) -> bool {
        self.hold.room_ms_max > 0
            && self.engines.is_near_full
            && float(tokens) > float(self.engines.room_tokens) * SMALL_SHARE
    }

    /// The pool has endpoints again, and they came in a list of all pools.
    pub(crate) fn wake(&mut self, now: Timestamp) {
        if self.queue.has_for_endpoint() {
            self.settled_at = now.plus_ms(SETTLE_MS);
        }
    }

    /// Whether the proxy's cluster may lack the endpoints that the pool has: nobody is sent there.
    pub(crate) fn is_settling(&self, now: Timestamp) -> bool {
        // A clock that was set back must not prolong it.
        now < self.settled_at && self.settled_at.ms_since(now) <= SETTLE_MS
    }

    /// Whether requests may have to wait for room.
    pub fn is_on(&self) -> bool {
        self.switch.is_on()
    }

    /// Share of what earlier turns computed that no engine has any more.
    pub fn lost_share(&self) -> f64 {
        self.switch.lost_share()
    }

    /// How long an idle conversation keeps its place while others wait, in milliseconds, after so many turns.
    pub fn lease_ms(&self, turns: u32) -> u64 {
        let [first, later] = self.leases_ms;
        if turns > 1 { later } else { first }
    }

    /// How many conversations are followed.
    pub fn conversations(&self) -> usize {
        self.followed.len()
    }

    /// Tokens that the conversations with places at an endpoint take there.
    pub fn tokens_at(&self, endpoint: EndpointId) -> u64 {
        self.followed.tokens_at(endpoint)
    }

    /// The conversation that a prompt continues.
    pub fn conversation(&self, chain: &[CellHash]) -> Option<ConversationId> {
        self.followed.find(chain)
    }

    /// The endpoint at which a conversation has a place.
    pub fn place(&self, conversation: ConversationId) -> Option<EndpointId> {
        Some(self.followed.get(conversation)?.place?.endpoint)
    }

    /// Tokens of a conversation's prompts that others begin with, too.
    pub fn shared_tokens(&self, conversation: ConversationId) -> u64 {
        self.followed.get(conversation).map_or(0, |of| of.shared_tokens)
    }

    /// A turn was sent.
    pub fn sent(&mut self, sent: Sent<'_>, rooms: &[Room], now: Timestamp) {
        let Sent { key, endpoint, chain, turn, found_cells } = sent;
        let (id, tenant) = (ConversationId(turn.conversation), TenantId(turn.tenant));
        let (tokens, shared_tokens) = (turn.tokens, turn.shared_tokens);
        let begun = Begun { key, conversation: id, endpoint, chain, tokens, shared_tokens, tenant };
        let before = self.followed.begin(&begun, now);
        if let Some(before) = before {
            let gap_ms = now.ms_since(before.seen).saturating_sub(turn.waited_ms);
            if before.under_way == 0 && gap_ms <= self.lease_ms(before.turns) {
                self.switch.note_turn(before.cells, found_cells);
            }
            if before.under_way == 0 && !before.is_gone {
                self.gaps_after(before.turns).note(gap_ms);
            }
        }
        let is_new = before.and_then(|before| before.place).is_none_or(|place| place.endpoint != endpoint);
        let own_tokens = tokens.saturating_sub(shared_tokens);
        if turn.waited_ms > 0 {
            self.shares.charge(tenant, own_tokens);
            self.drained.note(own_tokens);
        }
        self.make_room((endpoint, rooms), (id, is_new, turn.waited_ms), now);
    }

    /// A turn has ended.
    pub fn ended(&mut self, key: RequestKey, now: Timestamp) {
        self.followed.end(key, now);
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
        self.followed.restore(conversation, now);
    }

    /// Every conversation, for a snapshot; the pool's name is for the caller to fill in.
    pub fn export(&self, now: Timestamp) -> impl Iterator<Item = wire::Conversation> + '_ {
        self.followed.export(now)
    }

    /// An origin is gone: what it held and had under way is.
    pub fn drop_origin(&mut self, origin: OriginId) {
        self.queue.drop_origin(origin);
        self.followed.drop_origin(origin);
    }

    /// An endpoint has lost its cache, or is gone.
    pub fn forget(&mut self, endpoint: EndpointId) {
        self.followed.forget(endpoint);
    }

    /// Drops what is too old, and looks at the engines. About once a second.
    pub fn expire(&mut self, engines: Engines, now: Timestamp) {
        self.engines = engines;
        self.queue.expire(now);
        self.followed.expire(now);
        self.shares.expire();
        for turns in self.followed.note_gone(GONE_MS, now) {
            self.gaps_after(turns).note_gone();
        }
        let refill_ms = if engines.refill_ms > 0 { engines.refill_ms } else { BREAK_EVEN_MS_DEFAULT };
        self.leases_ms = self.gaps.map(|gaps| gaps.lease_ms(refill_ms));
        self.drained.tick(!self.queue.is_empty());
        let [_, later_ms] = self.leases_ms;
        self.switch.observe((engines.backlog_ms, refill_ms), (!self.queue.is_empty(), later_ms > 0), now);
    }

    fn gaps_after(&mut self, turns: u32) -> &mut Gaps {
        let [first, later] = &mut self.gaps;
        if turns > 1 { later } else { first }
    }
}
