//! From a request to its endpoint: body -> prompt -> query -> choice -> headers and booking.

use super::body::{Body, Edited, Read, set_request_body};
use super::exchange::{Exchange, Kept, Passed, Reading, Sent};
use super::head::{DECISION_PROPERTY, DESTINATION_HEADER, MODEL_HEADER, RETRIES_HEADER, RETRY_ON_HEADER};
use super::hold::{Admitted, Again, Stop, plan};
use super::io::{ExchangeId, Output, PluginId, Prompt, Reply};
use super::ledger::Booking;
use super::line::summary;
use super::metrics::Counter;
use super::planned::{Planned, Routed, Traits};
use super::reasons::{HoldEnd, NotHeld, Unread};
use super::reply::{Caller, is_header_value};
use super::shared::SharedMap;
use super::siblings::When;
use super::{Clock, Router, reply};
use crate::body::Content;
use crate::config::Explain;
use crate::limits::{BODY_BYTES_KEPT_MAX, BODY_BYTES_MAX};
use crate::num::count;
use crate::prompt::{PromptError, Request};
use crate::routing::{Decision, Explanation, NoEndpoint, Options, Query, target};
use crate::time::Timestamp;
use crate::view::{Fitness, View};
use crate::wire::HeldFor;
use crate::work::PrefillWork;
use std::cmp::Reverse;

/// How long the first token of a stream may take before its endpoint can count as silent, in milliseconds; other responses
/// come when all is generated.
const SILENCE_MS_STREAM: u64 = 10_000;
/// See [`SILENCE_MS_STREAM`].
const SILENCE_MS_WHOLE: u64 = 60_000;
/// And how many times its predicted time.
const SILENCE_FACTOR: f64 = 10.0;

/// Assumed bytes of a body of unknown size, to estimate its load.
const BODY_BYTES_GUESSED: usize = 8 * 1024;
/// Bytes of a body beyond which the rest is more likely images than text.
const BODY_BYTES_GUESSED_MAX: usize = 256 * 1024;

// === impl Router ===

impl<S: SharedMap> Router<S> {
    /// The host has kept more of a body.
    pub(super) fn request_data(
        &mut self,
        clock: &impl Clock,
        id: ExchangeId,
        (buffered_bytes, ends): (usize, bool),
        out: &mut Vec<Output>,
    ) {
        let Some(Exchange::Reading(_)) = self.exchanges.get(&id) else {
            if !self.keeps_held(id, (buffered_bytes, || clock.now()), out) {
                self.body_passes(clock, (id, buffered_bytes), out);
            }
            return;
        };
        self.body_shown(id, out);
        let Some(Exchange::Reading(reading)) = self.exchanges.get_mut(&id) else { return };
        reading.received_bytes = buffered_bytes;
        let Some(Exchange::Reading(reading)) = self.exchanges.get(&id) else { return };
        let is_large = buffered_bytes > BODY_BYTES_MAX;
        if buffered_bytes > BODY_BYTES_KEPT_MAX || is_large && !self.keeps_large_bodies() {
            self.route_kept(clock, id, Body::Unread(Unread::Prompt(PromptError::TooLarge)), out);
        } else if !ends {
            out.push(Output::Pause);
        } else {
            if is_large {
                out.push(Output::Count(Counter::Unread(Unread::Prompt(PromptError::TooLarge)), 1));
            }
            let in_pieces = is_large || buffered_bytes > 0 && reading.kind.is_read_in_pieces();
            out.push(if in_pieces { Output::ReadPieces } else { Output::ReadBody });
        }
    }

    /// A piece of a body that is not parsed in one.
    pub(super) fn request_piece(
        &mut self,
        clock: &impl Clock,
        id: ExchangeId,
        (piece, ends): (&[u8], bool),
        out: &mut Vec<Output>,
    ) {
        let Some(Exchange::Reading(reading)) = self.exchanges.get_mut(&id) else { return };
        reading.fields.push(piece);
        if ends {
            let fields = std::mem::replace(&mut reading.fields, reading.kind.fields());
            self.route_kept(clock, id, Body::Pieces(fields), out);
        }
    }

    /// The body that was asked for.
    pub(super) fn request_body(
        &mut self,
        clock: &impl Clock,
        id: ExchangeId,
        body: &[u8],
        out: &mut Vec<Output>,
    ) {
        match self.exchanges.get(&id) {
            Some(Exchange::Prefilling(_)) => return self.leg_body(clock, id, body, out),
            Some(Exchange::Held(_)) => return self.recalled(clock, id, Again::Body(body), out),
            _ => {}
        }
        self.route_kept(clock, id, Body::Whole(body), out);
    }

    fn route_kept(&mut self, clock: &impl Clock, id: ExchangeId, body: Body<'_>, out: &mut Vec<Output>) {
        match self.exchanges.remove(&id) {
            Some(Exchange::Reading(reading)) => self.route_body(clock, id, (reading, None), body, out),
            Some(other) => {
                self.exchanges.insert(id, other);
            }
            None => {}
        }
    }

    /// A prompt that is hashed already.
    pub(super) fn request_prompt(
        &mut self,
        clock: &impl Clock,
        id: ExchangeId,
        plugin: PluginId,
        prompt: Prompt<'_>,
        out: &mut Vec<Output>,
    ) {
        if let Some(Exchange::Held(_)) = self.exchanges.get(&id) {
            return self.recalled(clock, id, Again::Prompt(prompt), out);
        }
        self.route_prompt(clock, id, (plugin, None), prompt, out);
    }

    /// Such a request, or one that was held. `admitted`: as it may go on.
    pub(super) fn route_prompt(
        &mut self,
        clock: &impl Clock,
        id: ExchangeId,
        (plugin, admitted): (PluginId, Option<Admitted>),
        prompt: Prompt<'_>,
        out: &mut Vec<Output>,
    ) {
        let now = clock.now();
        let Some(config) = self.config_of(plugin) else {
            return self.release(admitted, HoldEnd::Left, now, out);
        };
        self.read_log(now, out);
        self.end_prefills(now, out);
        let nonce = self.random();
        let options = Options { alternates: config.alternates, nonce, now, weights: self.weights };
        let Prompt { model, chain, size, output_tokens_max, is_stream, has_usage, tenant, priority } = prompt;
        let traits = Traits { api: None, is_stream, has_usage, is_judged: true };
        let query = Query::of_chain(&self.view, model, chain, size, output_tokens_max, now);
        let query = query.map(|query| query.with_priority(priority));
        let may_explain = config.explain == Explain::Everybody;
        let has_room = || self.has_room_to_hold(config.hold, 0);
        match plan(query, (traits, tenant), &options, (admitted.as_ref(), has_room)) {
            Ok(planned) => {
                self.release(admitted, HoldEnd::Resumed, now, out);
                self.send_chain(id, planned, may_explain, now, out);
            }
            Err(Stop::Held(wait)) => self.hold_prompt(id, plugin, (wait, admitted), now, out),
            Err(Stop::Refused(reason)) => {
                self.release(admitted, HoldEnd::Refused, now, out);
                refuse(reason, model, &Caller::default(), out);
            }
            Err(Stop::Crowded(wait_ms)) => {
                let held_for = (HeldFor::Room, Some(wait_ms));
                refuse_to_hold(NotHeld::Crowded, held_for, &Caller::default(), out);
            }
        }
    }

    /// A request whose headers and body have come, as far as they are read, or that was held. `admitted`: as it may go on.
    pub(super) fn route_body(
        &mut self,
        clock: &impl Clock,
        id: ExchangeId,
        (reading, mut admitted): (Reading, Option<Admitted>),
        body: Body<'_>,
        out: &mut Vec<Output>,
    ) {
        let now = clock.now();
        // What siblings did a microsecond ago counts.
        self.read_log(now, out);
        self.end_prefills(now, out);
        self.route_read(id, (reading, &mut admitted), body, now, out);
        // If it has neither gone on nor is held again, it has its response.
        self.release(admitted, HoldEnd::Refused, now, out);
    }

    fn route_read(
        &mut self,
        id: ExchangeId,
        (reading, admitted): (Reading, &mut Option<Admitted>),
        body: Body<'_>,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        let body_len = body.len();
        let content = body.content(&reading.kind);
        let read = Read::of(&content, reading.api);
        // What was held was counted when it came.
        let uncounted = read.unread.filter(|_| admitted.is_none());
        out.extend(uncounted.map(|unread| Output::Count(Counter::Unread(unread), 1)));
        let hinted = reading.hints.model.as_deref().filter(|_| read.request.is_none());
        if let Some((counter, reply)) = self.rejection(&reading, &content, &read, hinted) {
            out.extend([Output::Count(counter, 1), Output::Reply(reply)]);
            return;
        }
        let (body_bytes, unread) = (read.bytes, read.unread);
        let mut request = read.request.map(|request| request.omitting(&reading.config.omitted_prefixes));
        let target = request.as_mut().and_then(|request| {
            request.session = reading.hints.session();
            request.cluster = reading.route.cluster(&request.model);
            self.rewrite(request, &content, now)
        });
        // Where the prompt was not read, nothing has looked for such fields.
        let is_steering = unread.is_some() || request.as_ref().is_some_and(|request| request.is_steering);
        let edited = Edited::of(&content, is_steering, target.as_deref());
        let model = request.as_ref().map_or(hinted.unwrap_or_default(), |request| request.model.as_ref());
        let is_stream = request.as_ref().is_some_and(|request| request.is_stream);
        let reports = request.as_ref().is_some_and(|request| !is_stream || request.has_usage_in_stream);
        let has_usage = reading.api.has_prompt() && reports;
        let traits = Traits { api: Some(reading.api), is_stream, has_usage, is_judged: reading.is_judged };
        let alternates = if reading.wants_explanation { usize::MAX } else { reading.config.alternates };
        let options = Options { alternates, nonce: self.random(), now, weights: self.weights };
        let stored = reading.stored.and_then(|response| Query::of_stored(&self.view, response));
        let query = match (stored, &request) {
            (Some(query), _) => Ok(query),
            (None, None) => reading.guess((&self.view, now), model, unread),
            (None, request) => Query::of_request(&self.view, reading.api, request.as_ref(), body_bytes, now),
        };
        let query = query.map(|query| query.with_objective(reading.hints.objective.as_deref()));
        // No pool can have such a name, and no route could match it.
        let is_lost = self.has_several_pools() && !is_header_value(model);
        let query = query.and_then(|query| if is_lost { Err(NoEndpoint::UnknownModel) } else { Ok(query) });
        if reading.wants_explanation {
            match query.and_then(|query| Explanation::of(&query, reading.hints.tenant, &options)) {
                Ok(explanation) => out.push(Output::Reply(reply::explanation(&explanation, &reading.caller))),
                Err(reason) => refuse(reason, model, &reading.caller, out),
            }
            return;
        }
        let written = query.as_ref().ok().and_then(|query| query.written).filter(|_| admitted.is_none());
        out.extend(
            written.map(|written| {
                Output::Count(written.map_or_else(Counter::Unwritten, |()| Counter::Written), 1)
            }),
        );
        let has_room = || self.has_room_to_hold(reading.config.hold, reading.held_bytes(&content, body_len));
        let may_wait = (admitted.as_ref(), has_room);
        let planned = match plan(query, (traits, reading.hints.tenant), &options, may_wait) {
            Err(Stop::Refused(NoEndpoint::NoneKnown)) if self.view.is_open_to_models() => {
                Ok(Planned { whole: Routed::of_model(model, traits), split: None })
            }
            planned => planned,
        };
        match planned {
            Ok(planned) => {
                self.release(admitted.take(), HoldEnd::Resumed, now, out);
                self.send(id, planned, &reading, (&content, body_len, edited), now, out);
            }
            Err(Stop::Refused(reason)) => refuse(reason, model, &reading.caller, out),
            Err(Stop::Crowded(wait_ms)) => {
                refuse_to_hold(NotHeld::Crowded, (HeldFor::Room, Some(wait_ms)), &reading.caller, out);
            }
            Err(Stop::Held(wait)) => {
                drop(request);
                self.hold_read(id, reading, (&content, body_len), (wait, admitted.take()), now, out);
            }
        }
    }

    /// The response to a request that cannot be routed, whatever the pools are.
    fn rejection(
        &self,
        reading: &Reading,
        content: &Result<Content<'_>, Unread>,
        read: &Read<'_>,
        hinted: Option<&str>,
    ) -> Option<(Counter, Reply)> {
        let caller = &reading.caller;
        if let Some(unread) = read.lost_model().filter(|_| hinted.is_none() && self.has_several_pools()) {
            return Some((Counter::RejectedUnread, reply::lost_model(unread, caller)));
        }
        if read.unread == Some(Unread::Prompt(PromptError::TooLarge)) && self.view.has_split_pools() {
            return Some((Counter::RejectedSteering, reply::unsearched(caller)));
        }
        let is_steering = matches!(content, Ok(Content::Named(named)) if named.is_steering);
        is_steering.then(|| (Counter::RejectedSteering, reply::steering(caller)))
    }

    /// Gives a request the model that a rule has for it. Returns that model, if its body names another one.
    fn rewrite(
        &self,
        request: &mut Request<'_>,
        content: &Result<Content<'_>, Unread>,
        now: Timestamp,
    ) -> Option<String> {
        // Only JSON can be edited.
        if !matches!(content, Ok(Content::Json(_))) {
            return None;
        }
        let target = target(&self.view, request, now)?;
        let is_named = !request.model.is_empty();
        let differs = is_named && target != request.model;
        request.target = Some(target.clone()).filter(|_| is_named);
        differs.then_some(target)
    }

    /// Books a whole request at its endpoint, and names that to the proxy.
    pub(super) fn dispatch(
        &mut self,
        id: ExchangeId,
        routed: Routed,
        may_explain: bool,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        let line = routed
            .decision
            .as_ref()
            .map(|decision| summary(decision, routed.size.prompt_tokens, routed.waited));
        let mut kept = self.keep(&routed, out);
        let Routed { decision, model, chain, size, traits, asked, waited, is_open, .. } = routed;
        let Some((decision, line)) = decision.zip(line) else {
            out.push(Output::Count(Counter::Fallback, 1));
            out.push(Output::SetProperty(DECISION_PROPERTY, "fallback".to_owned()));
            limit_retries(None, out);
            kept.counted_as = None;
            let passed = Passed { model, chain, sent_at: now, kept };
            self.exchanges.insert(id, Exchange::Passed(passed));
            return;
        };
        kept.size.held_tokens = decision.chosen.held_tokens;
        kept.size.cached_tokens = decision.chosen.cached_tokens;
        if !traits.is_stream {
            let prefilled_at = now.plus_ms(count(decision.chosen.terms.ttft_s() * 1e3));
            kept.prefilled_at = Some(prefilled_at);
            self.prefills.push(Reverse((prefilled_at, id)));
        }
        let (booking, kinds) = if traits.api.is_some_and(|api| !api.is_computed()) {
            let (chain, nothing) = (Vec::new(), (PrefillWork::default(), 0));
            Booking::placed(&mut self.ledger, decision.chosen.id, chain, nothing, now)
        } else {
            let turn = self.turn_of(&kept.pool, asked, (decision.chosen.id, waited));
            let prompt = (chain, turn);
            Booking::of_turn(&mut self.ledger, &decision.chosen, prompt, size.prompt_tokens, now)
        };
        self.publish(kinds, When::Now, now, out);
        self.name_endpoint(id, (&decision, line), (kept, booking), (may_explain, is_open), now, out);
    }

    /// What is kept of a request for its response. Names its model to the proxy.
    pub(super) fn keep(&mut self, routed: &Routed, out: &mut Vec<Output>) -> Kept {
        let Routed { model, target, pool, size, traits, .. } = routed;
        if !model.is_empty() && is_header_value(model) {
            out.push(Output::SetRequestHeader(MODEL_HEADER, model.clone()));
        }
        Kept {
            pool: pool.clone(),
            size: *size,
            api: traits.api,
            is_stream: traits.is_stream,
            reads_usage: traits.has_usage && (!traits.is_stream || self.sampling.takes_next()),
            is_judged: traits.is_judged,
            prefilled_at: None,
            silent_at: None,
            overdue_at: None,
            summary: None,
            target: target.clone().filter(|target| is_header_value(target)),
            counted_as: Some(pool.as_str().into()),
            awaited: None,
            spare: None,
        }
    }

    /// Names the endpoint of a request that is booked to the proxy: the request goes there.
    pub(super) fn name_endpoint(
        &mut self,
        id: ExchangeId,
        (decision, line): (&Decision, String),
        (mut kept, booking): (Kept, Booking),
        (may_explain, is_open): (bool, bool),
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        kept.count(Counter::Decision(decision.reason), out);
        if decision.chosen.fitness == Fitness::Unhealthy {
            out.push(Output::Count(Counter::LastResort, 1));
        }
        out.push(Output::SetRequestHeader(DESTINATION_HEADER, decision.destinations()));
        if kept.awaited.is_some() {
            // What was handed over can be used once: a second engine would read blocks that may hold another prompt by then, and
            // respond to that.
            out.push(Output::SetRequestHeader(RETRIES_HEADER, "0".to_owned()));
        } else {
            limit_retries((!is_open).then_some(decision.alternates.len()), out);
        }
        out.push(Output::SetProperty(DECISION_PROPERTY, line.clone()));
        let ttft_ms = decision.chosen.terms.ttft_s() * 1e3;
        kept.summary = may_explain.then_some(line);
        kept.silent_at = kept.is_judged.then(|| {
            let silence_ms = if kept.is_stream { SILENCE_MS_STREAM } else { SILENCE_MS_WHOLE };
            now.plus_ms(silence_ms.max(count(ttft_ms * SILENCE_FACTOR)))
        });
        // Other responses come when all is generated, which may take this long.
        kept.overdue_at = kept.silent_at.filter(|_| kept.is_stream && kept.spare.is_some());
        self.exchanges.insert(id, Exchange::Sent(Sent { booking, kept }));
    }

    /// Ends the prefills of responses that are no streams when the model says that they are over: no token shows it.
    pub(super) fn end_prefills(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        while let Some(Reverse((due, id))) =
            self.prefills.peek().copied().filter(|Reverse((due, _))| *due <= now)
        {
            self.prefills.pop();
            // The number may be another request's by now.
            if let Some(Exchange::Sent(sent)) = self.exchanges.get_mut(&id)
                && sent.kept.prefilled_at == Some(due)
            {
                let prefilled = sent.booking.prefilled(&mut self.ledger);
                self.publish(prefilled, When::Soon, now, out);
            }
        }
    }
}

// === impl Reading ===

impl Reading {
    /// Replaces the body.
    pub(super) fn send_edited(&self, (old_bytes, edited): (usize, Option<Edited>), out: &mut Vec<Output>) {
        let Some(edited) = edited else { return };
        edited.count(out);
        set_request_body(self.hints.length.is_some(), old_bytes, edited.text, out);
    }

    /// The query of a request whose body was not read, from its headers.
    fn guess<'a>(
        &self,
        (view, now): (&'a View, Timestamp),
        model: &'a str,
        unread: Option<Unread>,
    ) -> Result<Query<'a>, NoEndpoint> {
        let has_prompt = self.api.has_prompt() && unread.is_some_and(Unread::hides_prompt);
        let session = self.hints.session().filter(|_| has_prompt);
        let is_sized = session.is_some() || has_prompt && unread == Some(Unread::Withheld);
        let length = self.hints.length.unwrap_or(BODY_BYTES_GUESSED).min(BODY_BYTES_GUESSED_MAX);
        let at = (self.route.cluster(model), now);
        Query::of_session(view, model, if is_sized { length } else { 0 }, session, at)
    }
}

/// Responds to a request that is not held, or no longer.
pub(super) fn refuse_to_hold(
    reason: NotHeld,
    (held_for, wait_ms): (HeldFor, Option<u64>),
    caller: &Caller,
    out: &mut Vec<Output>,
) {
    out.push(Output::Count(Counter::NotHeld(reason), 1));
    out.push(Output::SetProperty(DECISION_PROPERTY, format!("rejected={}", reason.label())));
    out.push(Output::Reply(reply::not_held(reason, held_for, wait_ms, caller)));
}

pub(super) fn refuse(reason: NoEndpoint, model: &str, caller: &Caller, out: &mut Vec<Output>) {
    out.push(Output::Count(Counter::Rejected(reason), 1));
    out.push(Output::SetProperty(DECISION_PROPERTY, format!("rejected={}", reason.label())));
    out.push(Output::Reply(reply::no_endpoint(reason, model, caller)));
}

/// The retries that the shipped routes allow: where a request may have as many, it needs no header.
const ROUTE_RETRIES: usize = 3;

/// An endpoint that reports that it is full is not asked again: Envoy looks at the status only where there is another
/// endpoint, and only as often as there are `others`; `None`: nobody knows how many. A connection that broke may be tried
/// again at the same endpoint, once: an engine may have closed it in the very moment at which the request was sent.
fn limit_retries(others: Option<usize>, out: &mut Vec<Output>) {
    if others != Some(0) {
        out.push(Output::SetRequestHeader(RETRY_ON_HEADER, "retriable-status-codes".to_owned()));
    }
    if let Some(others) = others.filter(|others| *others != ROUTE_RETRIES) {
        out.push(Output::SetRequestHeader(RETRIES_HEADER, others.max(1).to_string()));
    }
}
