//! A decode leg that fails before its response begins: other endpoints serve its request.
//!
//! ```text
//!   head of a failure ─► held, the whole request as a call ─┬─ success ─► the client gets its response
//!                                                           ├─ fails ───► another endpoint, while there is one
//!                                                           └─ none left ► the client gets the first failure
//! ```
//!
//! Where no endpoint takes whole requests, both legs are called, at another pair. The same happens to a decode leg whose response is
//! long overdue, or whose prefill leg has failed beside it, except that its own response may still come first.
//!
//! Envoy's own retries cannot do it: they send the same body again, and what was handed over must not be used twice. The price is
//! that the response to a call arrives whole: a client that streams gets all its events at once.
//!
//! The host gives the body away with the request, so the router keeps a copy until the response begins, within a bound.

use super::super::exchange::{Exchange, Sent};
use super::super::head::{DECISION_HEADER, DESTINATION_HEADER, TARGET_HEADER};
use super::super::io::{Call, CallId, Called, ExchangeId, Output, PluginId};
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
use crate::num::count;
use crate::response::usage_of;
use crate::routing::{Candidate, Decision};
use crate::split::Handover;
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
    /// The endpoints of both legs, the best last, where they run together.
    pairs: Option<Pairs>,
    sum: Rc<Cell<usize>>,
}

/// Endpoints for two legs that run together, the best last.
#[derive(Clone, Debug)]
pub(super) struct Pairs {
    pub(super) prefill: Vec<Candidate>,
    pub(super) decode: Vec<Candidate>,
}

/// Where a request may be served once more, the best last.
#[derive(Debug)]
enum Others {
    Whole(Vec<Candidate>),
    Pairs(Pairs),
}

/// A request whose decode leg has failed, and which others serve.
#[derive(Debug)]
pub(in crate::router) struct Rescuing {
    /// The decode leg.
    sent: Sent,
    /// What its response is, and whether that has ended with its head; `None`: it may still come.
    held: Option<(OutcomeClass, bool)>,
    spare: Box<Spare>,
    under_way: Option<UnderWay>,
    others: Others,
}

/// The call under way.
#[derive(Debug)]
struct UnderWay {
    call: CallId,
    booking: Booking,
    /// When its first token should have come.
    due: Timestamp,
}

/// Whether another endpoint could do better.
fn is_endpoints_fault(class: OutcomeClass) -> bool {
    matches!(
        class,
        OutcomeClass::Full | OutcomeClass::Unreachable | OutcomeClass::Faulty | OutcomeClass::Rejected
    )
}

// === impl Pairs ===

impl Pairs {
    /// The candidates of both decisions; those that were chosen come last, in case they were not at fault.
    pub(super) fn of(prefill: &Decision, decode: &Decision) -> Self {
        let best_last = |decision: &Decision| {
            let others = decision.alternates.iter().rev();
            std::iter::once(&decision.chosen).chain(others).cloned().collect()
        };
        Self { prefill: best_last(prefill), decode: best_last(decode) }
    }
}

// === impl KeptBytes ===

impl KeptBytes {
    /// Keeps the body of a request that could be served once more; `None`: there is no room for it, or nobody could.
    pub(super) fn keep(
        &self,
        joint: Joint,
        whole: Routed,
        body: &[u8],
        pairs: Option<Pairs>,
    ) -> Option<Box<Spare>> {
        let Self(sum) = self;
        let bytes = sum.get().saturating_add(body.len());
        let is_served = whole.decision.is_some() || pairs.is_some();
        if joint.api.is_none() || !is_served || bytes > KEPT_BYTES_MAX {
            return None;
        }
        sum.set(bytes);
        Some(Box::new(Spare { joint, body: body.to_vec(), whole, pairs, sum: Rc::clone(sum) }))
    }
}

// === impl Spare ===

impl Spare {
    /// Where its request may be served, after `failed` has not.
    fn others(&self, failed: EndpointId) -> Others {
        let but_failed = |one: &&Candidate| one.id != failed;
        if let (None, Some(Pairs { prefill, decode })) = (&self.whole.decision, &self.pairs) {
            // One that has failed is better than none.
            let mut left: Vec<Candidate> = decode.iter().filter(but_failed).cloned().collect();
            if left.is_empty() {
                left.clone_from(decode);
            }
            return Others::Pairs(Pairs { prefill: prefill.clone(), decode: left });
        }
        let ranked = || self.whole.decision.iter().flat_map(Decision::ranked);
        let mut left: Vec<Candidate> = ranked().filter(but_failed).cloned().collect();
        left.reverse();
        if left.is_empty() {
            // The engine itself may be able to compute what it could not fetch.
            left.extend(ranked().next().cloned());
        }
        Others::Whole(left)
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        self.sum.set(self.sum.get().saturating_sub(self.body.len()));
    }
}

// === impl Rescuing ===

impl Rescuing {
    /// Whether this is the call under way.
    pub(super) fn waits_for(&self, call: CallId) -> bool {
        self.under_way.as_ref().is_some_and(|under_way| under_way.call == call)
    }
}

// === impl Router ===

impl<S: SharedMap> Router<S> {
    /// Takes a decode leg whose response is a failure of its endpoint, and calls others. Gives it back where that is no use.
    pub(in crate::router) fn rescue(
        &mut self,
        id: ExchangeId,
        mut sent: Sent,
        (class, ends): (OutcomeClass, bool),
        now: Timestamp,
        out: &mut Vec<Output>,
    ) -> Option<Sent> {
        if !is_endpoints_fault(class) {
            return Some(sent);
        }
        let Some(spare) = sent.kept.spare.take() else { return Some(sent) };
        // Immediately: the next request must not go there.
        let kinds = sent.booking.came_to(&mut self.ledger, class, now);
        self.publish(kinds, When::Now, now, out);
        let start = out.len();
        let left = self.start_rescue(id, (sent, spare), Some((class, ends)), now, out);
        if left.is_none() {
            // Before the call: a host may refuse that at once, and the response then goes on.
            out.insert(start, Output::Pause);
        }
        left
    }

    /// The response to a decode leg that others serve meanwhile is a failure, too: it is held like one that began all that.
    /// `false`: it is none, or nobody serves the request.
    pub(in crate::router) fn hold_failure(
        &mut self,
        id: ExchangeId,
        (class, ends): (Option<OutcomeClass>, bool),
        out: &mut Vec<Output>,
    ) -> bool {
        let Some(Exchange::Rescuing(rescuing)) = self.exchanges.get_mut(&id) else { return false };
        let Some(class) = class.filter(|class| is_endpoints_fault(*class)) else { return false };
        if rescuing.held.is_some() || rescuing.under_way.is_none() {
            return false;
        }
        // Not its endpoint's fault: what it waited for did not come.
        rescuing.held = Some((class, ends));
        out.push(Output::Pause);
        true
    }

    /// Calls others for each decode leg whose response is overdue: an engine that waits for KV from one that stopped waits for ever.
    /// What comes first, of either, is the client's.
    pub(in crate::router) fn rescue_overdue(
        &mut self,
        overdue: Vec<ExchangeId>,
        plugin: PluginId,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        let mut has_entered = false;
        for id in overdue {
            if let Some(taken) = self.take_with_spare(id) {
                has_entered = true;
                out.push(Output::Enter { exchange: id });
                self.rescue_before_response(id, taken, now, out);
            }
        }
        if has_entered {
            out.push(Output::Leave { plugin });
        }
    }

    /// The prefill leg that a decode leg waits for has failed beside it: others serve the request, before the engine has found out.
    pub(super) fn companion_failed(&mut self, id: ExchangeId, now: Timestamp, out: &mut Vec<Output>) {
        if let Some(taken) = self.take_with_spare(id) {
            self.rescue_before_response(id, taken, now, out);
        } else if let Some(Exchange::Rescuing(_)) = self.exchanges.get(&id)
            && let Some(Exchange::Rescuing(mut rescuing)) = self.exchanges.remove(&id)
        {
            // What it waits for cannot come any more.
            let before = rescuing.under_way.take();
            if !self.call_next(id, &mut rescuing, now, out) {
                rescuing.under_way = before;
            } else if let Some(UnderWay { booking, due, .. }) = before {
                self.abandon((booking, due), now, out);
            }
            self.exchanges.insert(id, Exchange::Rescuing(rescuing));
        }
    }

    /// A decode leg without a response, if it can be served once more.
    fn take_with_spare(&mut self, id: ExchangeId) -> Option<(Sent, Box<Spare>)> {
        let Some(Exchange::Sent(sent)) = self.exchanges.get_mut(&id) else { return None };
        let spare = sent.kept.spare.take()?;
        match self.exchanges.remove(&id) {
            Some(Exchange::Sent(sent)) => Some((sent, spare)),
            _ => None,
        }
    }

    /// Forgets the endpoints that have left since a request was planned: a proxy sends elsewhere what is for them. One stays in any case.
    pub(super) fn forget_left(&self, whole: &mut Routed) {
        let Some(decision) = &mut whole.decision else { return };
        decision.alternates.retain(|one| self.view.slot(one.id).is_some());
        if self.view.slot(decision.chosen.id).is_none() && !decision.alternates.is_empty() {
            decision.chosen = decision.alternates.remove(0);
        }
    }

    /// Calls others for a decode leg whose own response may still come.
    fn rescue_before_response(
        &mut self,
        id: ExchangeId,
        taken: (Sent, Box<Spare>),
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        if let Some(sent) = self.start_rescue(id, taken, None, now, out) {
            self.exchanges.insert(id, Exchange::Sent(sent));
        }
    }

    /// Calls the first of the others. Gives the decode leg back where there is none.
    fn start_rescue(
        &mut self,
        id: ExchangeId,
        (sent, mut spare): (Sent, Box<Spare>),
        held: Option<(OutcomeClass, bool)>,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) -> Option<Sent> {
        out.push(Output::Count(Counter::DecodeLegFailed, 1));
        self.forget_left(&mut spare.whole);
        let others = spare.others(sent.booking.endpoint());
        let mut rescuing = Rescuing { sent, held, spare, under_way: None, others };
        if !self.call_next(id, &mut rescuing, now, out) {
            if rescuing.held.is_some() {
                out.push(Output::Count(Counter::DecodeLegLost, 1));
            }
            return Some(rescuing.sent);
        }
        self.exchanges.insert(id, Exchange::Rescuing(Box::new(rescuing)));
        None
    }

    /// The response to a decode leg has begun after all: the call is not needed any more.
    pub(in crate::router) fn take_back(
        &mut self,
        rescuing: Rescuing,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) -> Sent {
        if let Some(UnderWay { booking, due, .. }) = rescuing.under_way {
            self.abandon((booking, due), now, out);
        }
        rescuing.sent
    }

    /// Whether the response to a decode leg may still come while others serve its request.
    pub(in crate::router) fn is_overdue(&self, id: ExchangeId) -> bool {
        matches!(self.exchanges.get(&id), Some(Exchange::Rescuing(rescuing)) if rescuing.held.is_none())
    }

    /// Calls the next endpoint, or pair. `false`: none is left.
    fn call_next(
        &mut self,
        id: ExchangeId,
        rescuing: &mut Rescuing,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) -> bool {
        let Spare { joint, body, whole, .. } = &*rescuing.spare;
        let (chain, tokens) = (whole.chain.clone(), whole.size.prompt_tokens);
        let (candidate, body, booked) = match &mut rescuing.others {
            Others::Whole(left) => {
                let Some(candidate) = left.pop() else { return false };
                let booked = Booking::new(&mut self.ledger, &candidate, chain, tokens, now);
                (candidate, body.clone(), booked)
            }
            Others::Pairs(Pairs { prefill, decode }) => {
                let Some((p, d)) = prefill.pop().zip(decode.last().cloned()) else { return false };
                if decode.len() > 1 {
                    decode.pop();
                }
                let engine = self.engine_of(p.id);
                let Some(protocol) = joint.protocol(&p, &engine, self.random()) else { return false };
                let bodies = joint.prefill_body(&protocol, body).and_then(|prefill_body| {
                    Ok((prefill_body, joint.decode_body(&protocol, body, &Handover::Agreed)?))
                });
                let Ok((prefill_body, decode_body)) = bodies else { return false };
                let leg = self.call(joint, &p, prefill_body, whole, now, out);
                self.accompany(id, leg, now, out);
                (d.clone(), decode_body, Booking::decoding(&mut self.ledger, d.id, chain, tokens, now))
            }
        };
        let (booking, kinds) = booked;
        let due = now.plus_ms(count(candidate.terms.ttft_s() * 1e3));
        self.publish(kinds, When::Now, now, out);
        let mut headers = joint.head.headers.clone();
        headers.push((DESTINATION_HEADER.to_owned(), candidate.address.into_bytes()));
        let (call, cluster) = (self.call_id(), joint.cluster.clone());
        out.push(Output::Call(Call { id: call, cluster, headers, body, timeout_ms: WHOLE_MS_MAX }));
        rescuing.under_way = Some(UnderWay { call, booking, due });
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
        if let Some(UnderWay { mut booking, .. }) = rescuing.under_way.take() {
            let mut kinds = match class {
                None => booking.served(&mut self.ledger, None, now),
                // Perhaps the call's own fault, which has the client's path and not the one that a route rewrites.
                Some(OutcomeClass::Rejected) => booking.came_to(&mut self.ledger, OutcomeClass::None, now),
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
        if self.call_next(id, &mut rescuing, now, out) {
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
        let mut reply = reply::rescued(response, kept.is_stream, &spare.joint.head.caller);
        let shown = [(DECISION_HEADER, kept.summary), (TARGET_HEADER, kept.target)];
        reply.headers.extend(shown.into_iter().filter_map(|(name, value)| Some((name, value?))));
        out.push(Output::Reply(reply));
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
        let Rescuing { sent, under_way, .. } = rescuing;
        let kinds = sent.booking.end(&mut self.ledger, now);
        self.publish(kinds, When::Soon, now, out);
        if let Some(UnderWay { booking, due, .. }) = under_way {
            self.abandon((booking, due), now, out);
        }
    }
}
