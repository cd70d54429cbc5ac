//! A request in two legs: the prefill leg is a call of the router's own, and the client's request is the decode leg.
//!
//! ```text
//!   split ─► paused, call to P ─┬─ hands over ─► body with what it hands over ─► resumed, to D (Sent)
//!              ▲                ├─ fails ──────► another P, while there is one
//!              └────────────────┘           └──► resumed, whole: local prefill (Sent)
//!
//!   decode leg fails before its response begins ─► rescue: the whole request once more, as a call
//!
//!   split ─► call to P and the request to D at once, where the protocol has both legs meet (Sent, and a companion)
//! ```
//!
//! While a request is paused, nothing is copied for a second try: the host keeps its body, and each leg's is made from it when it is
//! needed. Once the request has gone on, `rescue` has a copy. The decode endpoint is booked from the start, so that nobody else takes its room for free meanwhile.
//!
//! A call cannot be taken back: the leg of a client that leaves goes on until its response or its time limit. Nothing reports its end.

mod awaited;
mod handovers;
mod joint;
mod prefill;
mod rescue;

pub(super) use awaited::Awaited;
pub(super) use handovers::Handovers;
use handovers::Step;
pub(super) use prefill::Leg;
pub(super) use rescue::{KeptBytes, Rescuing, Spare};

use super::body::Edited;
use super::exchange::{Exchange, Kept, Reading};
use super::head::LegHead;
use super::io::{CallId, Called, ExchangeId, Notice, Output};
use super::ledger::Booking;
use super::line::{decimal, held};
use super::metrics::Counter;
use super::planned::{Planned, Routed};
use super::reasons::{LegFailure, StaysWhole, Unread};
use super::route::refuse;
use super::shared::SharedMap;
use super::siblings::When;
use super::{Clock, Router, reply};
use crate::body::Content;
use crate::cost::Term;
use crate::ids::EndpointId;
use crate::json::as_utf8;
use crate::num::{float, u64_len};
use crate::routing::{Candidate, Decision, NoEndpoint, Split};
use crate::split::{Bootstrap, Handover, Order, Protocol, reason};
use crate::time::Timestamp;
use crate::wire::{HeldFor, Kind, Outcome, OutcomeClass, TransferProtocol};
use joint::Joint;
use prefill::failure_of;
use rescue::Pairs;

/// A request that waits for its prefill leg.
#[derive(Debug)]
pub(super) struct Prefilling {
    joint: Joint,
    protocol: Protocol,
    /// The leg under way; `None` while the body is read for another.
    leg: Option<Leg>,
    /// Where the last leg went.
    from: EndpointId,
    /// Where the prompt may be computed if it fails, the best last.
    others: Vec<Candidate>,
    /// The engines that have rejected it, published once another one takes it: if none does, the legs are at fault.
    rejections: Vec<Outcome>,
    /// What a leg has handed over, while the body is read for the decode leg.
    handover: Option<Handover>,
    decode: Booking,
    decision: Decision,
    /// When it was split.
    since: Timestamp,
    transfer_tokens: u64,
    /// Where both legs may go if one of them fails, where they run together.
    pairs: Option<Pairs>,
    /// Both decisions in one line.
    line: String,
    kept: Kept,
    /// The request for an endpoint that does it all.
    whole: Routed,
}

// === impl Prefilling ===

impl Prefilling {
    /// Takes what a leg came to. Returns why it failed, and whether its response is all that the client waits for.
    fn take(&mut self, handover: Result<Handover, LegFailure>) -> (Option<LegFailure>, bool) {
        match handover {
            Ok(Handover::Complete) if !self.kept.is_stream => (None, true),
            // A stream of it would have to be made up: the endpoint that does it all makes one.
            Ok(Handover::Complete) => {
                self.others.clear();
                (None, false)
            }
            Ok(handover) => {
                self.handover = Some(handover);
                (None, false)
            }
            Err(failure) => {
                if failure == LegFailure::Refused {
                    // The client's own fault: one engine says so, in its own words.
                    self.others.clear();
                }
                (Some(failure), false)
            }
        }
    }
}

// === impl Router ===

impl<S: SharedMap> Router<S> {
    /// Sends a request as it was planned.
    pub(super) fn send(
        &mut self,
        id: ExchangeId,
        planned: Planned,
        reading: &Reading,
        (content, body_len, edited): (&Result<Content<'_>, Unread>, usize, Option<Edited>),
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        let Planned { whole, split } = planned;
        let several = self.has_several_pools();
        let split = split.map(|split| {
            let (split, transfer) = split?;
            if self.handovers.are_missing(&whole.pool, now) {
                return Err(StaysWhole::NoHandover);
            }
            let Ok(Content::Json(text)) = content else { return Err(StaysWhole::Unread) };
            let reason = match transfer.protocol() {
                // An engine with a mode takes nothing but legs, whatever the response depends on.
                TransferProtocol::Bootstrap => Bootstrap::reason(reading.api),
                _ => reason(reading.api, text),
            };
            if let Some(reason) = reason {
                return Err(StaysWhole::Body(reason));
            }
            Ok((split, Joint::of(reading, transfer, &whole, several)?, text))
        });
        let (whole, edited) = match split {
            Some(Ok((split, joint, text))) => {
                match self.send_split(id, (split, whole), joint, (text, body_len, edited), now, out) {
                    Ok(()) => return,
                    Err(left) => {
                        out.push(Output::Count(Counter::StaysWhole(StaysWhole::NotEditable), 1));
                        *left
                    }
                }
            }
            Some(Err(reason)) => {
                out.push(Output::Count(Counter::StaysWhole(reason), 1));
                (whole, edited)
            }
            None => (whole, edited),
        };
        if whole.is_lost() {
            return refuse(NoEndpoint::NoneKnown, &whole.model, &reading.caller, out);
        }
        reading.send_edited((body_len, edited), out);
        self.dispatch(id, whole, reading.may_explain, now, out);
    }

    /// Sends a request that is a chain and has no text.
    pub(super) fn send_chain(
        &mut self,
        id: ExchangeId,
        planned: Planned,
        may_explain: bool,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        let Planned { whole, split } = planned;
        let whole = match split {
            Some(Ok((split, transfer))) => {
                let (cluster, head) = (transfer.cluster.clone(), LegHead::default());
                let joint = Joint { transfer, api: None, cluster, head, may_explain };
                match self.send_split(id, (split, whole), joint, (&[], 0, None), now, out) {
                    Ok(()) => return,
                    Err(left) => left.0,
                }
            }
            Some(Err(reason)) => {
                out.push(Output::Count(Counter::StaysWhole(reason), 1));
                whole
            }
            None => whole,
        };
        self.dispatch(id, whole, may_explain, now, out);
    }

    /// Sends a request in two legs. `text` is what the engines get, `old_bytes` the length of what the host keeps. Gives the
    /// request back where a leg cannot be made.
    fn send_split(
        &mut self,
        id: ExchangeId,
        (split, whole): (Split, Routed),
        joint: Joint,
        (text, old_bytes, edited): (&[u8], usize, Option<Edited>),
        now: Timestamp,
        out: &mut Vec<Output>,
    ) -> Result<(), Box<(Routed, Option<Edited>)>> {
        let Split { prefill, mut decode, transfer_tokens, cost_s } = split;
        let engine = self.engine_of(prefill.chosen.id);
        let Some(protocol) = joint.protocol(&prefill.chosen, &engine, self.random()) else {
            return Err(Box::new((whole, edited)));
        };
        let text = edited.as_ref().map_or(text, |edited| edited.text.as_slice());
        let is_together = protocol.order() == Order::Together;
        let bodies = joint.prefill_body(&protocol, text).and_then(|body| {
            let decode = is_together.then(|| joint.decode_body(&protocol, text, &Handover::Agreed));
            Ok((body, decode.transpose()?))
        });
        let Ok((leg_body, decode_body)) = bodies else { return Err(Box::new((whole, edited))) };
        if let Some(edited) = &edited {
            edited.count(out);
        }
        decode.reason = prefill.reason;
        let pairs = is_together.then(|| Pairs::of(&prefill, &decode));
        // What is handed over is used once, so there is nowhere else to go with it.
        decode.alternates.clear();
        let line = summary(&prefill, &decode, (whole.size.prompt_tokens, cost_s), whole.waited);
        let mut kept = self.keep(&whole, out);
        kept.size.cached_tokens = prefill.chosen.cached_tokens;
        out.push(Output::Count(Counter::Split, 1));
        let (booking, kinds) = Booking::decoding(
            &mut self.ledger,
            decode.chosen.id,
            whole.chain.clone(),
            whole.size.prompt_tokens,
            now,
        );
        self.publish(kinds, When::Now, now, out);
        let leg = self.call(&joint, &prefill.chosen, leg_body, &whole, now, out);
        let mut others = prefill.alternates;
        others.reverse();
        let prefilling = Prefilling {
            joint,
            protocol,
            leg: Some(leg),
            from: prefill.chosen.id,
            others,
            rejections: Vec::new(),
            handover: None,
            decode: booking,
            decision: decode,
            since: now,
            transfer_tokens,
            pairs,
            line,
            kept,
            whole,
        };
        if let Some(body) = decode_body {
            prefilling.joint.set_body(old_bytes, body, out);
            self.send_decode(id, prefilling, text, now, out);
        } else {
            if let Some(edited) = edited {
                prefilling.joint.set_body(old_bytes, edited.text, out);
            }
            out.push(Output::Pause);
            self.exchanges.insert(id, Exchange::Prefilling(Box::new(prefilling)));
        }
        Ok(())
    }

    /// The end of a prefill leg.
    pub(super) fn called(
        &mut self,
        clock: &impl Clock,
        (id, call): (ExchangeId, CallId),
        response: Option<Called<'_>>,
        out: &mut Vec<Output>,
    ) {
        let now = clock.now();
        if self.companions.get(&id).is_some_and(|leg| leg.call == call)
            && let Some(leg) = self.companions.remove(&id)
        {
            let failure = failure_of(&leg, response, now);
            self.end_leg(leg, failure, response, now, out);
            // What is wrong with the request, the decode engine says, too.
            if failure.is_some_and(|failure| failure != LegFailure::Refused) {
                self.companion_failed(id, now, out);
            }
            return;
        }
        if matches!(self.exchanges.get(&id), Some(Exchange::Rescuing(rescuing)) if rescuing.waits_for(call))
            && let Some(Exchange::Rescuing(rescuing)) = self.exchanges.remove(&id)
        {
            return self.rescued(clock, id, rescuing, response, out);
        }
        let Some(Exchange::Prefilling(prefilling)) = self.exchanges.get_mut(&id) else { return };
        let Some(mut leg) = prefilling.leg.take_if(|leg| leg.call == call) else { return };
        let failure = failure_of(&leg, response, now);
        let body = response.map(|response| response.body).unwrap_or_default();
        let handover = match failure {
            Some(failure) => Err(failure),
            None => prefilling.joint.handover(&prefilling.protocol, body),
        };
        let has_body = prefilling.joint.api.is_some();
        let (failure, is_over) = prefilling.take(handover);
        let goes_on = prefilling.handover.is_some() || !prefilling.others.is_empty();
        let pool = &prefilling.whole.pool;
        let mut kinds = Vec::new();
        match failure {
            None => {
                self.handovers.note_good(Step::HandOver, pool);
                kinds.extend(prefilling.rejections.drain(..).map(Kind::Outcome));
            }
            Some(LegFailure::Handover(_)) if self.handovers.note_bad(Step::HandOver, pool, now) => {
                out.push(Output::Notice(Notice::NothingHandedOver { pool: pool.clone() }));
            }
            Some(LegFailure::Rejected) => {
                prefilling.rejections.push(leg.booking.seen_as(OutcomeClass::Rejected, now));
                kinds = leg.booking.came_to(&mut self.ledger, OutcomeClass::None, now);
                if !goes_on && self.handovers.note_bad(Step::HandOver, pool, now) {
                    out.push(Output::Notice(Notice::LegsRejected { pool: pool.clone() }));
                }
            }
            Some(_) => {}
        }
        self.publish(kinds, When::Now, now, out);
        self.end_leg(leg, failure, response, now, out);
        if is_over {
            self.reply_complete(id, body, now, out);
        } else if !goes_on {
            self.send_whole(id, now, out);
        } else if has_body {
            out.push(Output::ReadBody);
        } else {
            self.leg_body(clock, id, &[], out);
        }
    }

    /// Takes note of what came of a decode leg: whether its engine could use what it got.
    pub(super) fn note_fetch(&mut self, pool: &str, is_good: bool, now: Timestamp, out: &mut Vec<Output>) {
        if is_good {
            self.handovers.note_good(Step::Fetch, pool);
        } else if self.handovers.note_bad(Step::Fetch, pool, now) {
            out.push(Output::Notice(Notice::NothingFetched { pool: pool.to_owned() }));
        }
    }

    /// The id that an endpoint's KV connector gives it.
    fn engine_of(&self, id: EndpointId) -> String {
        let endpoint = self.view.slot(id).and_then(|slot| self.view.endpoint(slot));
        endpoint.map_or_else(String::new, |endpoint| endpoint.engine.clone())
    }

    /// The body of a request that waits, for its next leg.
    pub(super) fn leg_body(
        &mut self,
        clock: &impl Clock,
        id: ExchangeId,
        body: &[u8],
        out: &mut Vec<Output>,
    ) {
        let now = clock.now();
        let Some(Exchange::Prefilling(mut prefilling)) = self.exchanges.remove(&id) else { return };
        // As the first leg was made: it may have come in UTF-16, or behind a byte order mark.
        let (old_bytes, text) = (body.len(), as_utf8(body));
        let body = text.as_deref().unwrap_or(body);
        if let Some(handover) = prefilling.handover.take() {
            let Prefilling { joint, protocol, .. } = &*prefilling;
            let Ok(decode_body) = joint.decode_body(protocol, body, &handover) else {
                self.exchanges.insert(id, Exchange::Prefilling(prefilling));
                return self.send_whole(id, now, out);
            };
            joint.set_body(old_bytes, decode_body, out);
            self.send_decode(id, *prefilling, body, now, out);
            out.push(Output::Resume);
            return;
        }
        prefilling.others.retain(|one| self.view.slot(one.id).is_some());
        let next = prefilling.others.pop().and_then(|candidate| {
            let engine = self.engine_of(candidate.id);
            let protocol = prefilling.joint.protocol(&candidate, &engine, self.random())?;
            let body = prefilling.joint.prefill_body(&protocol, body).ok()?;
            Some((candidate, protocol, body))
        });
        let Some((candidate, protocol, body)) = next else {
            self.exchanges.insert(id, Exchange::Prefilling(prefilling));
            return self.send_whole(id, now, out);
        };
        out.push(Output::Count(Counter::LegRetried, 1));
        let leg = self.call(&prefilling.joint, &candidate, body, &prefilling.whole, now, out);
        prefilling.protocol = protocol;
        (prefilling.leg, prefilling.from) = (Some(leg), candidate.id);
        self.exchanges.insert(id, Exchange::Prefilling(prefilling));
    }

    /// The decode leg goes to its endpoint.
    fn send_decode(
        &mut self,
        id: ExchangeId,
        prefilling: Prefilling,
        body: &[u8],
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        let Prefilling {
            joint,
            whole,
            leg,
            from,
            mut decode,
            decision,
            since,
            transfer_tokens,
            pairs,
            line,
            mut kept,
            ..
        } = prefilling;
        decode.restart(now);
        kept.awaited = Some(Awaited {
            since,
            from,
            to: decision.chosen.id,
            tokens: transfer_tokens,
            predicted_s: decision.chosen.terms[Term::Transfer],
            teaches: decision.chosen.work_ahead.is_some()
                && decision.chosen.terms[Term::Queue] <= decision.chosen.terms[Term::Transfer],
        });
        let may_explain = joint.may_explain;
        let is_read = joint.api.is_some();
        kept.spare = self.kept_bytes.keep(joint, whole, body, pairs);
        if kept.spare.is_none() && is_read {
            out.push(Output::Count(Counter::DecodeLegNotKept, 1));
        }
        if let Some(leg) = leg {
            self.accompany(id, leg, now, out);
        }
        self.name_endpoint(id, (&decision, line), (kept, decode), (may_explain, false), now, out);
    }

    /// No endpoint has computed the prompt for another one: one does it all.
    fn send_whole(&mut self, id: ExchangeId, now: Timestamp, out: &mut Vec<Output>) {
        let Some(Exchange::Prefilling(prefilling)) = self.exchanges.remove(&id) else { return };
        let Prefilling { decode, mut whole, joint, .. } = *prefilling;
        self.forget_left(&mut whole);
        let ended = decode.end(&mut self.ledger, now);
        self.publish(ended, When::Soon, now, out);
        out.push(Output::Count(Counter::LocalPrefill, 1));
        self.dispatch(id, whole, joint.may_explain, now, out);
        out.push(Output::Resume);
    }

    /// The client or the proxy has ended a request that waits for its prefill leg.
    pub(super) fn end_prefilling(&mut self, prefilling: Prefilling, now: Timestamp, out: &mut Vec<Output>) {
        let Prefilling { leg, decode, .. } = prefilling;
        let ended = decode.end(&mut self.ledger, now);
        self.publish(ended, When::Soon, now, out);
        if let Some(leg) = leg {
            self.abandon(leg.into_booking(), now, out);
        }
    }

    /// A request is over whose prefill leg ran beside it, perhaps not to its end.
    pub(super) fn end_companion(&mut self, clock: &impl Clock, id: ExchangeId, out: &mut Vec<Output>) {
        if let Some(leg) = self.companions.remove(&id) {
            self.abandon(leg.into_booking(), clock.now(), out);
        }
    }

    /// The response to a prefill leg is all that there is to generate: the client gets it.
    fn reply_complete(&mut self, id: ExchangeId, body: &[u8], now: Timestamp, out: &mut Vec<Output>) {
        let Some(Exchange::Prefilling(prefilling)) = self.exchanges.remove(&id) else { return };
        prefilling.kept.count(Counter::Outcome(OutcomeClass::Served), out);
        let head = &prefilling.joint.head;
        out.push(Output::Reply(reply::complete(body, &head.caller)));
        self.end_prefilling(*prefilling, now, out);
    }
}

/// Both decisions in one line, as of a whole request with what a split adds.
fn summary(
    prefill: &Decision,
    decode: &Decision,
    (prompt_tokens, cost_s): (u64, f64),
    waited: Option<(HeldFor, u64)>,
) -> String {
    let Candidate { cached_tokens, address, terms, .. } = &prefill.chosen;
    let share = if prompt_tokens == 0 { 0.0 } else { float(*cached_tokens) / float(prompt_tokens) };
    format!(
        "reason={} cached={cached_tokens}/{prompt_tokens} share={} cost={} ttft={} considered={}{} prefill={address} \
         transfer={} endpoints={}",
        prefill.reason.label(),
        decimal(share, 2),
        decimal(cost_s, 6),
        decimal(terms.ttft_s() + decode.chosen.terms.ttft_s(), 6),
        u64_len(prefill.considered + decode.considered),
        held(waited),
        decimal(decode.chosen.terms[Term::Transfer], 6),
        decode.destinations(),
    )
}
