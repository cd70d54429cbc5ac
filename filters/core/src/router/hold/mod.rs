//! Requests that are held: paused in the proxy with their bodies, until there is an endpoint or room for them.
//!
//! ```text
//!   route ─┬─ goes on ──────────────────────────────────────────────────────────► Sent, Prefilling, Passed
//!          └─ has to wait ─► Held ─┬─ tick: it is the next one ─► its body again ─► route
//!                                  ├─ tick: it has waited too long ─► reply
//!                                  └─ its client leaves ─► (gone)
//! ```
//!
//! The host keeps the body, as it does while a request is paused for any other reason; the router keeps what the headers said, and
//! is handed the body once more when the request goes on. It is then routed as if it had just come, so that rewriting, splitting and
//! cost are those of that moment. To keep the query instead would save parsing it twice, for a chain of 32 KB a request and a choice
//! that was made minutes ago.
//!
//! All VMs and the controller know all held requests ([`crate::admission`]); each VM sends its own, in the order that all agree on.

mod bounds;
mod clock;
mod plan;
mod resume;

pub(super) use plan::{Stop, plan};
pub(super) use resume::Again;

use super::Router;
use super::body::Body;
use super::exchange::{Exchange, Reading};
use super::head::DECISION_PROPERTY;
use super::io::{ExchangeId, Output, PluginId};
use super::metrics::{Counter, Histogram};
use super::reasons::{HoldEnd, NotHeld, Unread};
use super::reply::Caller;
use super::route::refuse_to_hold;
use super::shared::SharedMap;
use super::siblings::When;
use crate::admission::{Asked, Verdict};
use crate::body::{Content, Named};
use crate::config::HoldLimits;
use crate::ids::{ConversationId, EndpointId, OriginId};
use crate::limits::BODY_BYTES_KEPT_MAX;
use crate::time::Timestamp;
use crate::wire::{self, HeldFor, Kind, Released, Turn};
use bounds::Kept;
use clock::HoldClock;
use fnv::FnvHashSet;
use std::collections::BTreeMap;

/// How long the others are left where they are when one has found no endpoint though its pool has some, in milliseconds: each try
/// reads a body.
const VAIN_MS: u64 = 100;

/// Those of one VM.
#[derive(Debug, Default)]
pub(super) struct Holds {
    /// By their numbers, and so in the order in which they came.
    ids: BTreeMap<u64, ExchangeId>,
    /// How many of those wait for room.
    for_room: usize,
    /// Bytes of their bodies.
    body_bytes: u64,
    /// Those that make room for more important ones, in the next tick.
    shed: Vec<u64>,
    /// The other VMs of the process that hold requests.
    siblings: FnvHashSet<OriginId>,
    /// What the gauges show.
    shown: [Kept; 2],
    /// Requests held so far.
    number: u64,
    clock: HoldClock,
    /// When those that wait too long were last looked for.
    expired_ms: u64,
    /// Those that have waited for as long as they may, and go on whatever the gate says.
    due: Vec<u64>,
    /// The one whose body the shell was asked for, and the plugin whose tick it is.
    recalled: Option<(ExchangeId, PluginId)>,
    /// How many may still go on in this tick.
    budget: u32,
    /// Until when nobody is sent to an endpoint that has come, because the last one found none, by the [`HoldClock`].
    vain_until_ms: u64,
    /// Ticks so far: each begins with another pool.
    ticks: usize,
}

/// A request that is held.
#[derive(Debug)]
pub(super) struct Held {
    source: Source,
    place: Place,
    /// How it goes on once its body is here.
    permit: Option<Permit>,
}

/// Its place among those that wait.
#[derive(Clone, Debug)]
pub(super) struct Place {
    number: u64,
    /// When it came, by the [`HoldClock`].
    came_ms: u64,
    /// Since when it waits for what it waits for now.
    since_ms: u64,
    wait: Wait,
    body_bytes: u64,
}

/// What a request has to wait for.
#[derive(Clone, Debug)]
pub(super) struct Wait {
    /// Its pool.
    pub(super) pool: String,
    pub(super) held_for: HeldFor,
    pub(super) asked: Asked,
}

/// How a held request may go on.
#[derive(Clone, Debug)]
struct Permit {
    /// What the gate has said; `None`: the gate is asked like that of a request that comes.
    verdict: Option<Verdict>,
    /// Whether it may not wait any longer.
    is_last: bool,
}

/// A held request that may go on.
#[derive(Debug)]
pub(super) struct Admitted {
    place: Place,
    permit: Permit,
    waited_ms: u64,
}

/// Where a held request comes from once more.
#[derive(Debug)]
enum Source {
    /// From its headers and its body.
    Read(Box<Reading>, KeptBody),
    /// From a caller that has chains, who is asked for it.
    Prompt(HoldLimits),
}

/// What is kept of a body.
#[derive(Debug)]
enum KeptBody {
    /// Nothing: the host has it.
    Recalled,
    /// All that was read of it.
    Read(Result<Named, Unread>),
}

// === impl Reading ===

impl Reading {
    /// Bytes that the proxy keeps while it is held, of which so many were read.
    pub(super) fn held_bytes(&self, content: &Result<Content<'_>, Unread>, read_bytes: usize) -> usize {
        // A length that is merely claimed would take the room of others: what comes yet, `keeps_held` adds. Only a proxy that withholds
        // bodies shows nothing else.
        let is_withheld = matches!(content, Err(Unread::Withheld));
        let claimed = self.hints.length.filter(|_| is_withheld).unwrap_or(0).min(BODY_BYTES_KEPT_MAX);
        read_bytes.max(self.received_bytes).max(claimed)
    }
}

// === impl KeptBody ===

impl KeptBody {
    /// Of what was read: JSON may be long, anything else is a name.
    fn of(content: &Result<Content<'_>, Unread>) -> Self {
        match content {
            Ok(Content::Json(_)) => Self::Recalled,
            Ok(Content::Named(named)) => Self::Read(Ok(named.clone())),
            Err(unread) => Self::Read(Err(*unread)),
        }
    }
}

// === impl Admitted ===

impl Admitted {
    /// What the gate has said.
    pub(super) fn verdict(&self) -> Option<&Verdict> {
        self.permit.verdict.as_ref()
    }

    /// What it was held for and how long, in milliseconds.
    pub(super) fn waited(&self) -> (HeldFor, u64) {
        (self.place.wait.held_for, self.waited_ms)
    }

    /// Whether it may wait on if it has to.
    pub(super) fn may_wait(&self) -> bool {
        !self.permit.is_last
    }
}

// === impl Router ===

impl<S: SharedMap> Router<S> {
    /// Holds a request that was read. `admitted`: it was held before, and keeps its place.
    pub(super) fn hold_read(
        &mut self,
        id: ExchangeId,
        reading: Reading,
        (content, body_bytes): (&Result<Content<'_>, Unread>, usize),
        (wait, admitted): (Wait, Option<Admitted>),
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        let (plugin, body_bytes) = (reading.plugin, reading.held_bytes(content, body_bytes));
        let source = Source::Read(Box::new(reading), KeptBody::of(content));
        self.hold(id, (plugin, source), (wait, body_bytes, admitted), now, out);
    }

    /// Holds a request whose caller has its prompt.
    pub(super) fn hold_prompt(
        &mut self,
        id: ExchangeId,
        plugin: PluginId,
        (wait, admitted): (Wait, Option<Admitted>),
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        let limits = self.config_of(plugin).map_or(HoldLimits::default(), |config| config.hold);
        self.hold(id, (plugin, Source::Prompt(limits)), (wait, 0, admitted), now, out);
    }

    fn hold(
        &mut self,
        id: ExchangeId,
        (plugin, source): (PluginId, Source),
        (wait, body_bytes, admitted): (Wait, usize, Option<Admitted>),
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        let is_for_room = wait.held_for == HeldFor::Room;
        let place = if let Some(Admitted { place, .. }) = admitted {
            self.holds.for_room -= usize::from(place.wait.held_for == HeldFor::Room);
            self.wait_on(&place, wait, now)
        } else {
            let body_bytes = u64::try_from(body_bytes).unwrap_or(u64::MAX);
            if !self.make_room(source.limits(), wait.asked.priority, body_bytes) {
                let wait_ms = self.wait_ms(&wait, now);
                return refuse_to_hold(NotHeld::Full, (wait.held_for, wait_ms), source.caller(), out);
            }
            self.holds.body_bytes = self.holds.body_bytes.saturating_add(body_bytes);
            out.push(Output::Count(Counter::Held(wait.held_for), 1));
            out.push(Output::Pause);
            // What the access log shows of one that leaves before it goes on.
            out.push(Output::SetProperty(DECISION_PROPERTY, format!("held_for={}", wait.held_for.label())));
            self.holds.number += 1;
            let (number, since_ms) = (self.holds.number, self.holds.clock.ms(now));
            self.holds.ids.insert(number, id);
            Place { number, came_ms: since_ms, since_ms, wait, body_bytes }
        };
        self.holds.for_room += usize::from(is_for_room);
        let gate = self.view.admission(&place.wait.pool);
        let is_first = gate.is_none_or(|gate| gate.queue().is_empty());
        let event = self.held_event(&place, now);
        // Whoever is next must be known before the next decision.
        self.publish([event], if is_first { When::Now } else { When::Soon }, now, out);
        self.hasten(plugin, self.held_tick_ms(), out);
        self.exchanges.insert(id, Exchange::Held(Box::new(Held { source, place, permit: None })));
    }

    /// The place of a request that waits on. For something else, it may wait as long as any.
    fn wait_on(&mut self, place: &Place, wait: Wait, now: Timestamp) -> Place {
        let now_ms = self.holds.clock.ms(now);
        if wait.held_for == HeldFor::Endpoint {
            self.holds.vain_until_ms = now_ms + VAIN_MS;
        }
        let since_ms = if wait.held_for == place.wait.held_for { place.since_ms } else { now_ms };
        let Place { number, came_ms, body_bytes, .. } = *place;
        Place { number, came_ms, since_ms, wait, body_bytes }
    }

    /// The turn that a request is which goes to an endpoint.
    pub(super) fn turn_of(
        &mut self,
        pool: &str,
        asked: Option<Asked>,
        (endpoint, waited): (EndpointId, Option<(HeldFor, u64)>),
    ) -> Option<Turn> {
        let asked = asked?;
        // Zero names none.
        let new = ConversationId(self.random() | 1);
        let pool = self.view.pools().iter().find(|known| known.name() == pool)?;
        let waited_ms = waited.map_or(0, |(_, ms)| ms);
        Some(self.view.turn_of(pool, &asked, (endpoint, waited_ms), || new))
    }

    /// A held request is over before it went on: its client has left, or the proxy has responded.
    pub(super) fn end_held(&mut self, held: &Held, now: Timestamp, out: &mut Vec<Output>) {
        self.leave(&held.place, HoldEnd::Left, now, out);
        self.publish([], When::Soon, now, out);
    }

    /// A held request is held no more. Published with what follows.
    fn leave(&mut self, place: &Place, end: HoldEnd, now: Timestamp, out: &mut Vec<Output>) {
        if self.holds.ids.remove(&place.number).is_some() {
            self.holds.for_room -= usize::from(place.wait.held_for == HeldFor::Room);
            self.holds.body_bytes = self.holds.body_bytes.saturating_sub(place.body_bytes);
        }
        out.push(Output::Count(Counter::HoldEnded(end, place.wait.held_for), 1));
        if end == HoldEnd::Resumed {
            let waited_ms = self.holds.clock.ms(now).saturating_sub(place.came_ms);
            out.push(Output::Record(Histogram::HeldMs(place.wait.held_for), waited_ms));
        }
        let (origin, number) = (self.ledger.origin().0, place.number);
        let released = Released { origin, number, is_sent: end == HoldEnd::Resumed };
        self.publish([Kind::Released(released)], When::Later, now, out);
    }

    /// The event of a held request.
    fn held_event(&mut self, place: &Place, now: Timestamp) -> Kind {
        let Place { number, since_ms, wait, body_bytes, .. } = place;
        let Wait { pool, held_for, asked } = wait;
        Kind::Held(wire::Held {
            origin: self.ledger.origin().0,
            number: *number,
            pool: pool.clone(),
            held_for: (*held_for).into(),
            age_ms: self.holds.clock.ms(now).saturating_sub(*since_ms),
            conversation: asked.conversation.map_or(0, |conversation| conversation.0),
            tokens: asked.own_tokens(),
            tenant: asked.tenant.0,
            priority: asked.priority,
            body_bytes: *body_bytes,
        })
    }
}

// === impl Source ===

impl Source {
    /// What a response must know of it.
    fn caller(&self) -> &Caller {
        match self {
            Self::Read(reading, _) => &reading.caller,
            Self::Prompt(_) => const { &Caller::unknown() },
        }
    }

    /// How much its plugin lets the process hold.
    fn limits(&self) -> HoldLimits {
        match self {
            Self::Read(reading, _) => reading.config.hold,
            Self::Prompt(limits) => *limits,
        }
    }

    /// Whether the shell has to hand something over before it can go on.
    fn is_recalled(&self) -> bool {
        matches!(self, Self::Prompt(_) | Self::Read(_, KeptBody::Recalled))
    }
}

// === impl KeptBody ===

impl From<KeptBody> for Body<'_> {
    fn from(kept: KeptBody) -> Self {
        match kept {
            KeptBody::Read(read) => Self::Read(read),
            // The host had none to hand over.
            KeptBody::Recalled => Self::Whole(&[]),
        }
    }
}
