//! The booking of one request, from dispatch to its end, and the ledger of all bookings of one VM.
//!
//! ```text
//!   book ──► prefill ──served, or prefilled by the model's time──► decode ──end──► (gone)
//!              ├──moved (Envoy retried elsewhere), or misled (to another pool)──► prefill at the other
//!              └──came_to something else: no token will come
//! ```
//!
//! A turn of a conversation that is followed ends with it, whatever came of it.
//!
//! Each step returns the events that publish it. In-flight work is published as the ledger's sum for the endpoint, so the
//! next event makes up for a lost one.

use crate::ids::{AdapterId, CellHash, EndpointId, OriginId};
use crate::routing::Candidate;
use crate::time::Timestamp;
use crate::view::InFlight;
use crate::wire::{Ended, InFlightReport, Kind, Outcome, OutcomeClass, Routed, Turn};
use crate::work::PrefillWork;
use fnv::FnvHashMap;

/// The in-flight work of one VM, by endpoint.
#[derive(Debug)]
pub struct Ledger {
    origin: OriginId,
    shares: FnvHashMap<EndpointId, InFlight>,
    /// Requests so far.
    requests: u64,
}

/// One request in flight. Must be ended ([`Booking::end`]), or its share stays.
#[derive(Debug)]
pub struct Booking {
    endpoint: EndpointId,
    /// Its number in this VM: with the origin it names the request everywhere.
    request: u64,
    chain: Vec<CellHash>,
    share: InFlight,
    /// Work that was to be done before its own; `None` where its first token waited for something else as well.
    backlog: Option<PrefillWork>,
    /// Its own, by the estimate at dispatch.
    work: PrefillWork,
    sent: Timestamp,
    has_outcome: bool,
    /// The turn of its conversation, if that is followed.
    turn: Option<Turn>,
    /// The adapter that it needs.
    adapter: AdapterId,
    /// Whether another endpoint computes its prompt.
    decodes: bool,
}

/// The time to a first token, and the work that it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstTokenTime {
    /// From dispatch, in microseconds.
    pub us: u64,
    /// Work that was to be done before the request's own; `None` where the token waited for something else as well.
    pub backlog: Option<PrefillWork>,
    /// The request's own, by the estimate at dispatch.
    pub work: PrefillWork,
}

// === impl Ledger ===

impl Ledger {
    /// An empty ledger for one VM.
    pub fn new(origin: OriginId) -> Self {
        Self { origin, shares: FnvHashMap::default(), requests: 0 }
    }

    /// The origin of these bookings.
    pub fn origin(&self) -> OriginId {
        self.origin
    }

    /// Requests in flight.
    pub fn requests(&self) -> u32 {
        self.shares.values().fold(0, |sum, share| sum.saturating_add(share.requests))
    }

    /// The loads of all endpoints, for a receiver that starts.
    pub fn loads(&self) -> Vec<Kind> {
        self.shares.keys().map(|id| self.load(*id)).collect()
    }

    fn add(&mut self, endpoint: EndpointId, share: InFlight) {
        self.shares.entry(endpoint).or_default().add(share);
    }

    fn subtract(&mut self, endpoint: EndpointId, share: InFlight) {
        if let Some(sum) = self.shares.get_mut(&endpoint) {
            sum.subtract(share);
            if *sum == InFlight::default() {
                self.shares.remove(&endpoint);
            }
        }
    }

    fn load(&self, endpoint: EndpointId) -> Kind {
        let sum = self.shares.get(&endpoint).copied().unwrap_or_default();
        Kind::InFlight(InFlightReport {
            origin: self.origin.0,
            endpoint: endpoint.0,
            requests: sum.requests,
            prefills: sum.prefills,
            prefill_work: sum.prefill_work.0,
            context_tokens: sum.context_tokens,
        })
    }
}

// === impl Booking ===

impl Booking {
    /// Books a request that is sent to `chosen` now.
    pub fn new(
        ledger: &mut Ledger,
        chosen: &Candidate,
        chain: Vec<CellHash>,
        context_tokens: u64,
        now: Timestamp,
    ) -> (Self, Vec<Kind>) {
        Self::of_turn(ledger, chosen, (chain, None), context_tokens, now)
    }

    /// The same for a turn of a conversation that is followed.
    pub fn of_turn(
        ledger: &mut Ledger,
        chosen: &Candidate,
        (chain, turn): (Vec<CellHash>, Option<Turn>),
        context_tokens: u64,
        now: Timestamp,
    ) -> (Self, Vec<Kind>) {
        let share = InFlight { requests: 1, prefills: 1, prefill_work: chosen.work, context_tokens };
        let (mut booking, kinds) = Self::shared(ledger, chosen.id, (chain, turn, share, chosen.adapter), now);
        booking.backlog = chosen.work_ahead.map(|ahead| ahead.minus(chosen.work));
        (booking, kinds)
    }

    /// Books a request that was sent to `endpoint` at `sent` without a decision: what was ahead of it there is unknown.
    pub fn placed(
        ledger: &mut Ledger,
        endpoint: EndpointId,
        chain: Vec<CellHash>,
        (work, context_tokens): (PrefillWork, u64),
        sent: Timestamp,
    ) -> (Self, Vec<Kind>) {
        let share = InFlight { requests: 1, prefills: 1, prefill_work: work, context_tokens };
        Self::shared(ledger, endpoint, (chain, None, share, AdapterId::BASE), sent)
    }

    fn shared(
        ledger: &mut Ledger,
        endpoint: EndpointId,
        (chain, turn, share, adapter): (Vec<CellHash>, Option<Turn>, InFlight, AdapterId),
        sent: Timestamp,
    ) -> (Self, Vec<Kind>) {
        ledger.requests += 1;
        let (request, work) = (ledger.requests, share.prefill_work);
        let booking = Self {
            endpoint,
            request,
            chain,
            share,
            backlog: None,
            work,
            sent,
            has_outcome: false,
            turn,
            adapter,
            // Of what is computed here, there is at least a token.
            decodes: share.prefills == 0,
        };
        ledger.add(booking.endpoint, share);
        let mut kinds = vec![ledger.load(booking.endpoint)];
        kinds.extend(booking.routed(ledger));
        (booking, kinds)
    }

    /// Books a decode leg that will be sent to `endpoint`: its prompt is computed elsewhere.
    pub fn decoding(
        ledger: &mut Ledger,
        endpoint: EndpointId,
        chain: Vec<CellHash>,
        context_tokens: u64,
        now: Timestamp,
    ) -> (Self, Vec<Kind>) {
        let share =
            InFlight { requests: 1, prefills: 0, prefill_work: PrefillWork::default(), context_tokens };
        Self::shared(ledger, endpoint, (chain, None, share, AdapterId::BASE), now)
    }

    /// The endpoint that it was sent to.
    pub fn endpoint(&self) -> EndpointId {
        self.endpoint
    }

    /// Records that it is sent now: it was booked before.
    pub fn restart(&mut self, now: Timestamp) {
        self.sent = now;
    }

    /// Records that the response comes from another endpoint of the pool.
    pub fn moved(&mut self, ledger: &mut Ledger, served: EndpointId) -> Vec<Kind> {
        let from = std::mem::replace(&mut self.endpoint, served);
        ledger.subtract(from, self.share);
        ledger.add(served, self.share);
        // The duration of the first attempt is unknown, so the time to the first token teaches nothing.
        self.backlog = None;
        if let Some(turn) = &mut self.turn {
            turn.is_new = true;
        }
        let mut kinds = vec![ledger.load(from), ledger.load(served)];
        kinds.extend(self.routed(ledger));
        kinds
    }

    /// Records that the response comes from an endpoint of another pool, in which its chain means nothing.
    pub fn misled(&mut self, ledger: &mut Ledger, served: EndpointId, now: Timestamp) -> Vec<Kind> {
        let untried = self.outcome(ledger, OutcomeClass::None, now);
        self.chain.clear();
        let mut kinds = self.moved(ledger, served);
        kinds.push(Kind::Outcome(untried));
        kinds
    }

    /// The outcome of the endpoint at which it is booked, if Envoy went on to another one. Why is unknown: what Envoy retries is
    /// an endpoint that is full or cannot be reached.
    pub fn failed(&self, now: Timestamp) -> Outcome {
        self.seen_as(OutcomeClass::Unreachable, now)
    }

    /// An outcome of the endpoint at which it is booked, which changes nothing of the booking.
    pub fn seen_as(&self, class: OutcomeClass, now: Timestamp) -> Outcome {
        let class = class.into();
        Outcome { endpoint: self.endpoint.0, class, age_ms: self.age_us(now) / 1000, ..Outcome::default() }
    }

    /// Records that by now its prefill is over, though no token shows it. A second call has no effect.
    pub fn prefilled(&mut self, ledger: &mut Ledger) -> Option<Kind> {
        let prefill = InFlight {
            requests: 0,
            prefills: self.share.prefills,
            prefill_work: self.share.prefill_work,
            context_tokens: 0,
        };
        if prefill.prefills == 0 {
            return None;
        }
        self.share.subtract(prefill);
        ledger.subtract(self.endpoint, prefill);
        Some(ledger.load(self.endpoint))
    }

    /// Records the first token: the endpoint holds the prompt. `time` says what it teaches of the speed; `None`: nothing,
    /// or the usage will teach it. A second call has no effect.
    pub fn served(&mut self, ledger: &mut Ledger, time: Option<FirstTokenTime>, now: Timestamp) -> Vec<Kind> {
        if self.has_outcome {
            return Vec::new();
        }
        let mut outcome = self.outcome(ledger, OutcomeClass::Served, now);
        if let Some(time) = time {
            outcome.ttft_us = time.us;
            outcome.work_ahead = time.backlog.map(|backlog| backlog.plus(time.work).0);
        }
        self.has_outcome = true;
        self.prefilled(ledger).into_iter().chain([Kind::Outcome(outcome)]).collect()
    }

    /// Records that it came to something else than a first token. After a first token, or a second time, that has no
    /// effect.
    pub fn came_to(&mut self, ledger: &mut Ledger, class: OutcomeClass, now: Timestamp) -> Vec<Kind> {
        if self.has_outcome {
            return Vec::new();
        }
        self.has_outcome = true;
        let outcome = Kind::Outcome(self.outcome(ledger, class, now));
        self.prefilled(ledger).into_iter().chain([outcome]).collect()
    }

    /// The outcome to publish while the endpoint has been silent on it for too long. Its own outcome may still follow.
    pub fn silent(&self, now: Timestamp) -> Kind {
        Kind::Outcome(self.seen_as(OutcomeClass::Silent, now))
    }

    /// Ends it, whatever the reason.
    pub fn end(mut self, ledger: &mut Ledger, now: Timestamp) -> Vec<Kind> {
        let outcome = (!self.has_outcome).then(|| self.outcome(ledger, OutcomeClass::None, now));
        self.has_outcome = true;
        ledger.subtract(self.endpoint, self.share);
        let ended = self.turn.map(|_| {
            let (origin, request) = (ledger.origin.0, self.request);
            Kind::Ended(Ended { origin, request })
        });
        [ledger.load(self.endpoint)].into_iter().chain(outcome.map(Kind::Outcome)).chain(ended).collect()
    }

    /// Microseconds since it was sent.
    pub fn age_us(&self, now: Timestamp) -> u64 {
        now.us_since(self.sent)
    }

    /// The time to a first token that comes now.
    pub fn first_token_time(&self, now: Timestamp) -> FirstTokenTime {
        FirstTokenTime { us: self.age_us(now), backlog: self.backlog, work: self.work }
    }

    fn outcome(&self, ledger: &Ledger, class: OutcomeClass, now: Timestamp) -> Outcome {
        let is_expected = !self.chain.is_empty();
        Outcome {
            endpoint: self.endpoint.0,
            class: class.into(),
            origin: if is_expected { ledger.origin.0 } else { 0 },
            request: if is_expected { self.request } else { 0 },
            age_ms: self.age_us(now) / 1000,
            ..Outcome::default()
        }
    }

    fn routed(&self, ledger: &Ledger) -> Option<Kind> {
        let cells: Vec<u64> = self.chain.iter().map(|cell| cell.0).collect();
        let (endpoint, origin, request) = (self.endpoint.0, ledger.origin.0, self.request);
        let (turn, adapter) = (self.turn, self.adapter.0);
        (!cells.is_empty()).then_some(Kind::Routed(Routed {
            endpoint,
            cells,
            origin,
            request,
            turn,
            adapter,
            decodes: self.decodes,
        }))
    }
}
