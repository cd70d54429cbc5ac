//! The booking of one request, from dispatch to its end, and the ledger of all bookings of one VM.
//!
//! ```text
//!   book ──► prefill ──first_byte──► decode ──end──► (gone)
//!              └──moved (Envoy retried elsewhere)──► prefill at the other
//! ```
//!
//! Each step returns the events that publish it. In-flight work is published as the ledger's sum for the endpoint, so the
//! next event makes up for a lost one.

use crate::cost::PrefillWork;
use crate::ids::{CellHash, EndpointId, OriginId};
use crate::routing::Candidate;
use crate::time::Timestamp;
use crate::view::InFlight;
use crate::wire::{Failure, InFlightReport, Kind, Observed, Routed};
use fnv::FnvHashMap;

/// The in-flight work of one VM, by endpoint.
#[derive(Debug)]
pub struct Ledger {
    origin: OriginId,
    shares: FnvHashMap<EndpointId, InFlight>,
}

/// One request in flight. Must be ended ([`Booking::end`]), or its share stays.
#[derive(Debug)]
pub struct Booking {
    endpoint: EndpointId,
    chain: Vec<CellHash>,
    share: InFlight,
    /// Work that was to be done before the first token when it was sent, its own included; `None` where the first token
    /// waited for something else as well.
    work_ahead: Option<PrefillWork>,
    sent: Timestamp,
}

// === impl Ledger ===

impl Ledger {
    /// An empty ledger for one VM.
    pub fn new(origin: OriginId) -> Self {
        Self { origin, shares: FnvHashMap::default() }
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
        let share = InFlight { requests: 1, prefills: 1, prefill_work: chosen.work, context_tokens };
        let booking = Self { endpoint: chosen.id, chain, share, work_ahead: chosen.work_ahead, sent: now };
        ledger.add(booking.endpoint, share);
        let mut kinds = vec![ledger.load(booking.endpoint)];
        kinds.extend(booking.routed());
        (booking, kinds)
    }

    /// The endpoint that it was sent to.
    pub fn endpoint(&self) -> EndpointId {
        self.endpoint
    }

    /// Records that the response comes from `served`, after the first choice failed: Envoy retried.
    pub fn moved(&mut self, ledger: &mut Ledger, served: EndpointId) -> Vec<Kind> {
        if served == self.endpoint {
            return Vec::new();
        }
        let failed = std::mem::replace(&mut self.endpoint, served);
        ledger.subtract(failed, self.share);
        ledger.add(served, self.share);
        // The duration of the first attempt is unknown, so the time to the first byte teaches nothing.
        self.work_ahead = None;
        let mut kinds =
            vec![Kind::Failure(Failure { endpoint: failed.0 }), ledger.load(failed), ledger.load(served)];
        kinds.extend(self.routed());
        kinds
    }

    /// Records the first byte of the body: the prefill is over. `has_ttft`: its time is that of the first token.
    /// A second call has no effect.
    pub fn first_byte(&mut self, ledger: &mut Ledger, has_ttft: bool, now: Timestamp) -> Vec<Kind> {
        let prefill = InFlight {
            requests: 0,
            prefills: self.share.prefills,
            prefill_work: self.share.prefill_work,
            context_tokens: 0,
        };
        if prefill.prefills == 0 {
            return Vec::new();
        }
        self.share.subtract(prefill);
        ledger.subtract(self.endpoint, prefill);
        self.chain = Vec::new();
        // Without work it teaches no speed, but that the endpoint serves.
        let work_ahead = self.work_ahead.filter(|_| has_ttft).map(|work| work.0);
        let ttft_us = now.us_since(self.sent);
        let observed = Observed { endpoint: self.endpoint.0, work_ahead, ttft_us };
        vec![ledger.load(self.endpoint), Kind::Observed(observed)]
    }

    /// Records that no response arrived: no endpoint could be reached, or the connection broke before the first byte.
    pub fn failed(&self) -> Kind {
        Kind::Failure(Failure { endpoint: self.endpoint.0 })
    }

    /// Ends it, whatever the reason.
    pub fn end(self, ledger: &mut Ledger) -> Kind {
        ledger.subtract(self.endpoint, self.share);
        ledger.load(self.endpoint)
    }

    /// Microseconds since it was sent.
    pub fn age_us(&self, now: Timestamp) -> u64 {
        now.us_since(self.sent)
    }

    fn routed(&self) -> Option<Kind> {
        let cells: Vec<u64> = self.chain.iter().map(|cell| cell.0).collect();
        (!cells.is_empty()).then_some(Kind::Routed(Routed { endpoint: self.endpoint.0, cells }))
    }
}
