//! A decode leg that fails before its response begins: another endpoint does it all.
//!
//! ```text
//!   head of a failure ─► held, call of the whole request ─┬─ success ─► the client gets its response
//!                                                         ├─ fails ───► another endpoint, while there is one
//!                                                         └─ none left ► the client gets the first failure
//! ```
//!
//! The same for one whose response is long overdue, except that its own response may still come first.
//!
//! Envoy's own retries cannot do it: they send the same body again, and what was handed over must not be used twice. The price is
//! that the response to a call arrives whole: a client that streams gets all its events at once.
//!
//! The host gives the body away with the request, so the router keeps a copy until the response begins, within a bound.

use super::super::exchange::{Exchange, Sent};
use super::super::head::DESTINATION_HEADER;
use super::super::io::{Call, Called, ExchangeId, Output, PluginId};
use super::super::ledger::Booking;
use super::super::metrics::Counter;
use super::super::planned::Routed;
use super::super::response::{Responding, usage_seen};
use super::super::shared::SharedMap;
use super::super::siblings::When;
use super::super::status::class_of;
use super::super::{Clock, Router, reply};
use super::joint::Joint;
use crate::ids::EndpointId;
use crate::response::usage_of;
use crate::routing::{Candidate, Decision};
use crate::time::Timestamp;
use crate::wire::OutcomeClass;
use std::cell::Cell;
use std::rc::Rc;

/// Bytes of bodies that one VM keeps for decode legs without a response. Beyond, a decode leg that fails has failed.
const KEPT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long a response may take that is generated whole, in milliseconds.
const WHOLE_MS_MAX: u64 = 600_000;

/// The sum of what is kept.
#[derive(Clone, Debug, Default)]
pub(in crate::router) struct KeptBytes(Rc<Cell<usize>>);

/// What it takes to serve a decode leg's request once more.
#[derive(Debug)]
pub(in crate::router) struct Spare {
    joint: Joint,
    /// The body of the whole request.
    body: Vec<u8>,
    whole: Routed,
    sum: Rc<Cell<usize>>,
}

/// A request whose decode leg has failed, and which another endpoint serves as a whole.
#[derive(Debug)]
pub(in crate::router) struct Rescuing {
    /// The decode leg.
    sent: Sent,
    /// What its response is, and whether that has ended with its head; `None`: it is overdue.
    held: Option<(OutcomeClass, bool)>,
    spare: Box<Spare>,
    /// The booking of the call; `None` between two.
    booking: Option<Booking>,
    /// The endpoints left, the best last.
    others: Vec<Candidate>,
}

// === impl KeptBytes ===

impl KeptBytes {
    /// Keeps the body of a request that could be served whole; `None`: there is no room for it, or nobody could.
    pub(super) fn keep(&self, joint: Joint, whole: Routed, body: &[u8]) -> Option<Box<Spare>> {
        let Self(sum) = self;
        let bytes = sum.get().saturating_add(body.len());
        if joint.api.is_none() || whole.decision.is_none() || bytes > KEPT_BYTES_MAX {
            return None;
        }
        sum.set(bytes);
        Some(Box::new(Spare { joint, body: body.to_vec(), whole, sum: Rc::clone(sum) }))
    }
}

// === impl Spare ===

impl Spare {
    /// The endpoints that could serve the request but for this one, the best last.
    fn others(&self, failed: EndpointId) -> Vec<Candidate> {
        let ranked = self.whole.decision.iter().flat_map(Decision::ranked);
        let mut others: Vec<Candidate> = ranked.filter(|one| one.id != failed).cloned().collect();
        others.reverse();
        others
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        self.sum.set(self.sum.get().saturating_sub(self.body.len()));
    }
}

// === impl Router ===

impl<S: SharedMap> Router<S> {
    /// Takes a decode leg whose response is a failure of its endpoint, and calls another endpoint. Gives it back where that is no use.
    pub(in crate::router) fn rescue(
        &mut self,
        id: ExchangeId,
        mut sent: Sent,
        (class, ends): (OutcomeClass, bool),
        now: Timestamp,
        out: &mut Vec<Output>,
    ) -> Option<Sent> {
        let Some(spare) = sent.kept.spare.take() else { return Some(sent) };
        let is_endpoints_fault = matches!(
            class,
            OutcomeClass::Full | OutcomeClass::Unreachable | OutcomeClass::Faulty | OutcomeClass::Rejected
        );
        // A host makes one call at a time for a request.
        if !is_endpoints_fault || self.companions.contains_key(&id) {
            return Some(sent);
        }
        let mut others = spare.others(sent.booking.endpoint());
        if others.is_empty() {
            // Nobody else: the engine itself may be able to compute what it could not fetch.
            others.extend(spare.whole.decision.iter().map(|decision| decision.chosen.clone()));
        }
        // Immediately: the next request must not go there.
        let kinds = sent.booking.came_to(&mut self.ledger, class, now);
        self.publish(kinds, When::Now, now, out);
        out.push(Output::Count(Counter::DecodeLegFailed, 1));
        out.push(Output::Pause);
        let held = Some((class, ends));
        let mut rescuing = Rescuing { sent, held, spare, booking: None, others };
        self.call_whole(&mut rescuing, now, out);
        self.exchanges.insert(id, Exchange::Rescuing(Box::new(rescuing)));
        None
    }

    /// Calls another endpoint for each decode leg whose response is overdue: an engine that waits for KV from one that stopped waits
    /// for ever. What comes first, of either endpoint, is the client's.
    pub(in crate::router) fn rescue_overdue(
        &mut self,
        overdue: Vec<ExchangeId>,
        plugin: PluginId,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        let mut has_entered = false;
        for id in overdue {
            let mut sent = match self.exchanges.remove(&id) {
                Some(Exchange::Sent(sent)) => sent,
                Some(other) => {
                    self.exchanges.insert(id, other);
                    continue;
                }
                None => continue,
            };
            let others = sent.kept.spare.as_ref().map(|spare| spare.others(sent.booking.endpoint()));
            let others = others.filter(|others| !others.is_empty());
            let Some((others, spare)) = others.and_then(|others| Some((others, sent.kept.spare.take()?)))
            else {
                self.exchanges.insert(id, Exchange::Sent(sent));
                continue;
            };
            has_entered = true;
            out.extend([Output::Enter { exchange: id }, Output::Count(Counter::DecodeLegFailed, 1)]);
            let mut rescuing = Rescuing { sent, held: None, spare, booking: None, others };
            self.call_whole(&mut rescuing, now, out);
            self.exchanges.insert(id, Exchange::Rescuing(Box::new(rescuing)));
        }
        if has_entered {
            out.push(Output::Leave { plugin });
        }
    }

    /// The response to an overdue decode leg has begun: the call is not needed any more.
    pub(in crate::router) fn take_back(
        &mut self,
        rescuing: Rescuing,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) -> Sent {
        let ended = rescuing.booking.map(|booking| booking.end(&mut self.ledger, now));
        self.publish(ended.into_iter().flatten(), When::Soon, now, out);
        rescuing.sent
    }

    /// Whether the response to a decode leg may still come.
    pub(in crate::router) fn is_overdue(&self, id: ExchangeId) -> bool {
        matches!(self.exchanges.get(&id), Some(Exchange::Rescuing(rescuing)) if rescuing.held.is_none())
    }

    /// Calls the next endpoint. `false`: none is left.
    fn call_whole(&mut self, rescuing: &mut Rescuing, now: Timestamp, out: &mut Vec<Output>) -> bool {
        let Some(candidate) = rescuing.others.pop() else { return false };
        let Spare { joint, body, whole, .. } = &*rescuing.spare;
        let (booking, kinds) =
            Booking::new(&mut self.ledger, &candidate, whole.chain.clone(), whole.size.prompt_tokens, now);
        self.publish(kinds, When::Now, now, out);
        let mut headers = joint.head.headers.clone();
        headers.push((DESTINATION_HEADER.to_owned(), candidate.address.into_bytes()));
        let (cluster, body) = (joint.cluster.clone(), body.clone());
        out.push(Output::Call(Call { cluster, headers, body, timeout_ms: WHOLE_MS_MAX }));
        rescuing.booking = Some(booking);
        true
    }

    /// The end of the call.
    pub(super) fn rescued(
        &mut self,
        clock: &impl Clock,
        id: ExchangeId,
        mut rescuing: Box<Rescuing>,
        response: Option<Called<'_>>,
        out: &mut Vec<Output>,
    ) {
        let now = clock.now();
        let class =
            response.map_or(Some(OutcomeClass::Unreachable), |response| class_of(Some(response.status)));
        let is_final = matches!(class, None | Some(OutcomeClass::Refused));
        if let Some(mut booking) = rescuing.booking.take() {
            let mut kinds = match class {
                None => booking.served(&mut self.ledger, None, now),
                Some(class) => booking.came_to(&mut self.ledger, class, now),
            };
            let endpoint = booking.endpoint();
            kinds.extend(booking.end(&mut self.ledger, now));
            if let Some(Called { body, .. }) = response.filter(|_| class.is_none()) {
                let Routed { pool, size, .. } = &rescuing.spare.whole;
                let seen = usage_of(body).map(|usage| (usage, None));
                kinds.extend(seen.and_then(|seen| usage_seen((pool, size), endpoint, seen, out)));
            }
            self.publish(kinds, When::Now, now, out);
        }
        if let Some(response) = response.filter(|_| is_final) {
            return self.reply_rescued(*rescuing, response, now, out);
        }
        if self.call_whole(&mut rescuing, now, out) {
            self.exchanges.insert(id, Exchange::Rescuing(rescuing));
            return;
        }
        let Rescuing { mut sent, held, .. } = *rescuing;
        let Some((class, ends)) = held else {
            // Its own response may still come.
            self.exchanges.insert(id, Exchange::Sent(sent));
            return;
        };
        out.push(Output::Count(Counter::DecodeLegLost, 1));
        self.settle(&mut sent, class, now, out);
        let mut responding = Responding::failed(sent, class);
        responding.set_watch(out);
        if ends {
            self.finish(clock, responding, true, out);
        } else {
            self.exchanges.insert(id, Exchange::Responding(responding));
        }
        out.push(Output::ResumeResponse);
    }

    /// The client gets the response to the call in place of the failure.
    fn reply_rescued(
        &mut self,
        rescuing: Rescuing,
        response: Called<'_>,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        let Rescuing { sent: Sent { booking, kept }, spare, .. } = rescuing;
        out.push(Output::Count(Counter::DecodeLegRescued, 1));
        let class = class_of(Some(response.status)).unwrap_or(OutcomeClass::Served);
        kept.count(Counter::Outcome(class), out);
        out.push(Output::Reply(reply::rescued(response, kept.is_stream, &spare.joint.head.caller)));
        let ended = booking.end(&mut self.ledger, now);
        self.publish(ended, When::Soon, now, out);
    }

    /// The client or the proxy has ended a request that waits for the call.
    pub(in crate::router) fn end_rescuing(
        &mut self,
        rescuing: Rescuing,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        let Rescuing { sent, booking, .. } = rescuing;
        let mut kinds = sent.booking.end(&mut self.ledger, now);
        kinds.extend(booking.into_iter().flat_map(|booking| booking.end(&mut self.ledger, now)));
        self.publish(kinds, When::Soon, now, out);
    }
}
