//! One prefill leg: a call that is booked, and what it comes to.

use super::super::Router;
use super::super::exchange::Estimate;
use super::super::head::DESTINATION_HEADER;
use super::super::io::{Call, CallId, Called, ExchangeId, Output};
use super::super::ledger::Booking;
use super::super::metrics::{Counter, Histogram};
use super::super::planned::Routed;
use super::super::reasons::LegFailure;
use super::super::response::usage_seen;
use super::super::shared::SharedMap;
use super::super::siblings::When;
use super::super::status::class_of;
use super::joint::Joint;
use crate::num::count;
use crate::response::usage_of;
use crate::routing::Candidate;
use crate::time::Timestamp;
use crate::wire::OutcomeClass;

/// Shortest time that a prefill leg is waited for, in milliseconds: a step of a busy engine, and a client's connect.
const LEG_MS_MIN: u64 = 5_000;
/// And how many times its predicted time. As long as for silence, after which the endpoint would be blamed.
const LEG_FACTOR: f64 = 10.0;

/// Abandoned calls that stay booked: more than a VM has requests at once, and a bound for clients that come and go.
const ABANDONED_MAX: usize = 1_024;

/// By how much the proxy's timer and its clock may differ, in milliseconds.
const TIMER_MS: u64 = 100;

/// A prefill leg that was sent.
#[derive(Debug)]
pub(in crate::router) struct Leg {
    pub(super) call: CallId,
    pub(super) booking: Booking,
    pool: String,
    size: Estimate,
    timeout_ms: u64,
    /// When it should be over.
    due: Timestamp,
}

// === impl Router ===

impl<S: SharedMap> Router<S> {
    /// Sends a prefill leg, and books it.
    pub(super) fn call(
        &mut self,
        joint: &Joint,
        candidate: &Candidate,
        body: Vec<u8>,
        whole: &Routed,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) -> Leg {
        let Routed { chain, pool, size, .. } = whole;
        let (booking, kinds) =
            Booking::new(&mut self.ledger, candidate, chain.clone(), size.prompt_tokens, now);
        self.publish(kinds, When::Now, now, out);
        let ttft_ms = candidate.terms.ttft_s() * 1e3;
        let timeout_ms = LEG_MS_MIN.max(count(ttft_ms * LEG_FACTOR));
        let mut headers = joint.head.headers.clone();
        headers.push((DESTINATION_HEADER.to_owned(), candidate.address.clone().into_bytes()));
        let call = self.call_id();
        out.push(Output::Call(Call { id: call, cluster: joint.cluster.clone(), headers, body, timeout_ms }));
        let held_tokens = candidate.held_tokens;
        let size = Estimate { held_tokens, cached_tokens: candidate.cached_tokens, ..*size };
        Leg { call, booking, pool: pool.clone(), size, timeout_ms, due: now.plus_ms(count(ttft_ms)) }
    }

    /// A leg runs beside its request.
    pub(super) fn accompany(&mut self, id: ExchangeId, leg: Leg, now: Timestamp, out: &mut Vec<Output>) {
        if let Some(before) = self.companions.insert(id, leg) {
            self.abandon(before.into_booking(), now, out);
        }
    }

    /// The request of a call is gone, or has its response. The engine goes on, so the call stays booked until the prompt should be computed.
    pub(super) fn abandon(
        &mut self,
        (booking, due): (Booking, Timestamp),
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        if due > now && self.abandoned.len() < ABANDONED_MAX {
            self.abandoned.push((due, booking));
        } else {
            let ended = booking.end(&mut self.ledger, now);
            self.publish(ended, When::Soon, now, out);
        }
    }

    /// Ends the bookings of abandoned calls that should be over.
    pub(in crate::router) fn end_abandoned(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let over: Vec<_> = self.abandoned.extract_if(.., |(due, _)| *due <= now).collect();
        for (_, booking) in over {
            let ended = booking.end(&mut self.ledger, now);
            self.publish(ended, When::Soon, now, out);
        }
    }

    /// A prefill leg is over.
    pub(super) fn end_leg(
        &mut self,
        leg: Leg,
        failure: Option<LegFailure>,
        response: Option<Called<'_>>,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        let Leg { mut booking, pool, size, .. } = leg;
        let mut kinds = Vec::new();
        if let Some(failure) = failure {
            out.push(Output::Count(Counter::LegFailed(failure), 1));
            if failure == LegFailure::Silent {
                kinds.push(booking.silent(now));
            }
            kinds.extend(booking.came_to(&mut self.ledger, failure.class(), now));
        } else {
            let time = booking.first_token_time(now);
            out.push(Output::Record(Histogram::PrefillLegMs, time.us / 1000));
            kinds.extend(booking.served(&mut self.ledger, Some(time), now));
            let usage = response.and_then(|response| usage_of(response.body));
            let endpoint = booking.endpoint();
            kinds.extend(
                usage.and_then(|usage| usage_seen((&pool, &size), endpoint, (usage, Some(time)), out)),
            );
        }
        kinds.extend(booking.end(&mut self.ledger, now));
        // Immediately: the next prompt must not go to an endpoint that failed.
        self.publish(kinds, When::Now, now, out);
    }
}

// === impl Leg ===

impl Leg {
    /// Its booking, and when it should be over.
    pub(super) fn into_booking(self) -> (Booking, Timestamp) {
        (self.booking, self.due)
    }
}

// === impl LegFailure ===

impl LegFailure {
    /// What is published of the endpoint.
    fn class(self) -> OutcomeClass {
        match self {
            Self::Refused => OutcomeClass::Refused,
            Self::Rejected => OutcomeClass::Rejected,
            Self::Full => OutcomeClass::Full,
            Self::Faulty => OutcomeClass::Faulty,
            Self::Unreachable => OutcomeClass::Unreachable,
            // Published by itself: it is compared with the others.
            Self::Silent => OutcomeClass::None,
            // It has computed the prompt for nothing.
            Self::Handover(_) => OutcomeClass::Empty,
        }
    }
}

/// Why a prefill leg has failed; `None`: it has not.
pub(super) fn failure_of(leg: &Leg, response: Option<Called<'_>>, now: Timestamp) -> Option<LegFailure> {
    let is_overdue = leg.booking.age_us(now) / 1000 + TIMER_MS >= leg.timeout_ms;
    let Some(Called { status, .. }) = response else {
        return Some(if is_overdue { LegFailure::Silent } else { LegFailure::Unreachable });
    };
    Some(match class_of(Some(status))? {
        // The proxy's own, when it waits no longer.
        OutcomeClass::Unreachable if is_overdue => LegFailure::Silent,
        OutcomeClass::Unreachable => LegFailure::Unreachable,
        OutcomeClass::Full => LegFailure::Full,
        OutcomeClass::Refused => LegFailure::Refused,
        OutcomeClass::Rejected => LegFailure::Rejected,
        OutcomeClass::None
        | OutcomeClass::Served
        | OutcomeClass::Faulty
        | OutcomeClass::Silent
        | OutcomeClass::Empty => LegFailure::Faulty,
    })
}
