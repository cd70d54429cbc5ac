//! A response, from its head to its end: it shows how well the endpoint serves, and what its cache holds.
//!
//! ```text
//!   head ─┬─ a failure ──────────────────────────────► Outcome ─► (pieces pass by) ─► end
//!         └─ a success ─► pieces ─► first token ─────► Outcome (served) ─► usage ───► end, UsageSeen
//!                           └──── an end without one ► Outcome (empty)
//! ```
//!
//! The filter looks at pieces only as long as they can say something: until the first token, and for the usage in a
//! sample of streams. All others pass without a hostcall.

use super::exchange::{Estimate, Exchange, Kept, Passed, Sent};
use super::head::{DECISION_HEADER, TARGET_HEADER};
use super::io::{ExchangeId, Headers, Output, Watch};
use super::ledger::{Booking, FirstTokenTime, Ledger};
use super::metrics::{Counter, Histogram};
use super::shared::SharedMap;
use super::siblings::When;
use super::status::class_of;
use super::{Clock, Router};
use crate::ids::{EndpointId, ResponseId};
use crate::num::{count, float};
use crate::prompt::Api;
use crate::response::{FirstToken, IdScan, TAIL_BYTES_MAX, Usage, UsageScan};
use crate::time::Timestamp;
use crate::view::Pool;
use crate::wire::{Kind, Outcome, OutcomeClass, Stored, UsageSeen};
use crate::work::PrefillWork;

/// How many times its own work may have been ahead of a request whose first token teaches a speed.
const BACKLOG_FACTOR_MAX: u64 = 4;

/// The media type of a stream of events.
const EVENTS: &[u8] = b"text/event-stream";

/// A request whose response has begun.
#[derive(Debug)]
pub(super) struct Responding {
    sent: Sent,
    /// What the status says; `None`: a success.
    class: Option<OutcomeClass>,
    /// Whether the body is a stream of events, so that its first token has a time of its own.
    is_stream: bool,
    /// Its first token, once it has come.
    first_token: Option<FirstTokenTime>,
    /// Looks for the first token; `None`: the first byte is as good.
    first: Option<Box<FirstToken>>,
    /// Looks for the id of a response that the engine stores.
    id: Option<Box<IdScan>>,
    usage: Option<UsageScan>,
    watch: Watch,
}

/// What the headers say of a response's body.
#[derive(Clone, Copy, Debug)]
struct Body {
    is_stream: bool,
    /// Whether its bytes are the text itself.
    is_plain: bool,
}

// === impl Router ===

impl<S: SharedMap> Router<S> {
    /// A response has begun, from the chosen endpoint or from an alternate.
    pub(super) fn response_head(
        &mut self,
        clock: &impl Clock,
        id: ExchangeId,
        (status, headers): (Option<u16>, Headers<'_>),
        (served_by, ends): (Option<&str>, bool),
        out: &mut Vec<Output>,
    ) {
        self.forget_body(id);
        if matches!(self.exchanges.get(&id), Some(Exchange::Held(_)))
            && let Some(Exchange::Held(held)) = self.exchanges.remove(&id)
        {
            // The proxy itself has responded: its time is up.
            return self.end_held(&held, clock.now(), out);
        }
        // Without an upstream host, it is the response of Envoy or of a filter behind this one: it says nothing of an engine, and what it
        // denies, nobody else may serve.
        let class = if served_by.is_some() { class_of(status) } else { Some(OutcomeClass::None) };
        if self.hold_failure(id, (class, ends), out) {
            return;
        }
        if self.is_overdue(id)
            && let Some(Exchange::Rescuing(rescuing)) = self.exchanges.remove(&id)
        {
            let sent = self.take_back(*rescuing, clock.now(), out);
            self.exchanges.insert(id, Exchange::Sent(sent));
        }
        let sent = match self.take_if_sent(id) {
            Some(Exchange::Sent(sent)) => Some(sent),
            Some(Exchange::Passed(passed)) => self.place(passed, served_by, clock.now(), out),
            _ => None,
        };
        let Some(mut sent) = sent else { return };
        let served_by = served_by.map(EndpointId::of);
        if let Some(served_by) = served_by
            && served_by != sent.booking.endpoint()
        {
            self.move_to(&mut sent, served_by, clock.now(), out);
        }
        if sent.kept.awaited.is_some() && matches!(class, Some(OutcomeClass::Faulty | OutcomeClass::Rejected))
        {
            self.note_fetch(&sent.kept.pool, false, clock.now(), out);
        }
        let sent = match class {
            Some(class) => self.rescue(id, sent, (class, ends), clock.now(), out),
            None => Some(sent),
        };
        let Some(mut sent) = sent else { return };
        // Its endpoint has it now.
        sent.kept.spare = None;
        if let Some(class) = class {
            self.settle(&mut sent, class, clock.now(), out);
        }
        if let Some(summary) = sent.kept.summary.take() {
            out.push(Output::SetResponseHeader(DECISION_HEADER, summary));
        }
        if let Some(target) = sent.kept.target.take() {
            out.push(Output::SetResponseHeader(TARGET_HEADER, target));
        }
        let mut responding = Responding::new(sent, class, Body::of(headers));
        responding.set_watch(out);
        if ends {
            self.finish(clock, responding, true, out);
        } else {
            self.exchanges.insert(id, Exchange::Responding(responding));
        }
    }

    /// The response comes from another endpoint than the chosen one. Either Envoy has retried, or it did not try the chosen
    /// one at all: the route led to a cluster that does not have it.
    fn move_to(&mut self, sent: &mut Sent, served_by: EndpointId, now: Timestamp, out: &mut Vec<Output>) {
        let slot = self.view.slot(served_by);
        let is_in = |pool: &&Pool| slot.is_some_and(|slot| pool.has(slot));
        let chosen = self.view.pools().iter().find(|pool| pool.name() == sent.kept.pool);
        let is_retry = chosen.is_some_and(|pool| is_in(&pool));
        let other = self.view.pools().iter().find(is_in).filter(|_| !is_retry);
        // What the chosen one holds says nothing of this one.
        (sent.kept.size.held_tokens, sent.kept.size.cached_tokens) = (0, 0);
        let kinds = if let Some(pool) = other {
            // A retry would have stayed in the pool's cluster.
            pool.name().clone_into(&mut sent.kept.pool);
            sent.kept.counted_as = Some(pool.name().into());
            sent.booking.misled(&mut self.ledger, served_by, now)
        } else {
            out.push(Output::CountAttempts { failed: sent.booking.failed(now) });
            sent.booking.moved(&mut self.ledger, served_by)
        };
        self.publish(kinds, When::Now, now, out);
    }

    /// How many endpoints Envoy has tried for a request whose response comes from another one than the chosen one.
    pub(super) fn attempts(
        &mut self,
        clock: &impl Clock,
        attempts: Option<u64>,
        failed: Outcome,
        out: &mut Vec<Output>,
    ) {
        if attempts.is_some_and(|attempts| attempts <= 1) {
            return;
        }
        out.push(Output::Count(Counter::Retried, 1));
        // Immediately: the next request must not go to the endpoint that failed.
        self.publish([Kind::Outcome(failed)], When::Now, clock.now(), out);
    }

    /// A piece of a response's body: its length, and as much of its end as was wanted.
    pub(super) fn response_chunk(
        &mut self,
        clock: &impl Clock,
        id: ExchangeId,
        (bytes, tail, ends): (usize, &[u8], bool),
        out: &mut Vec<Output>,
    ) {
        let Some(Exchange::Responding(responding)) = self.exchanges.get_mut(&id) else { return };
        let has_first_token = responding.take_piece(bytes, tail);
        let stored = responding.stored(tail);
        let mut kinds = Vec::new();
        if has_first_token {
            let now = clock.now();
            let time = responding.sent.booking.first_token_time(now);
            responding.first_token = Some(time);
            if responding.is_stream {
                // A decode leg is sent long after its request has come.
                let awaited = responding.sent.kept.awaited.as_ref();
                let ttft_us = awaited.map_or(time.us, |awaited| awaited.ttft_us(now));
                out.push(Output::Record(Histogram::TtftMs, ttft_us / 1000));
            }
            kinds = responding.served(&mut self.ledger, now, out);
            kinds.extend(responding.transferred(time, out));
        }
        responding.set_watch(out);
        let kept = &responding.sent.kept;
        let fetched = (has_first_token && kept.awaited.is_some()).then(|| kept.pool.clone());
        if let Some(pool) = fetched {
            self.note_fetch(&pool, true, clock.now(), out);
        }
        if !kinds.is_empty() {
            self.publish(kinds, When::Soon, clock.now(), out);
        }
        if let Some(stored) = stored {
            // Immediately: the client may continue it as soon as it has seen the id.
            self.publish([Kind::Stored(stored)], When::Now, clock.now(), out);
        }
        if ends && let Some(Exchange::Responding(responding)) = self.exchanges.remove(&id) {
            self.finish(clock, responding, true, out);
        }
    }

    /// Books a request that Envoy has placed, at the endpoint that responds, if it can be known.
    fn place(
        &mut self,
        passed: Passed,
        served_by: Option<&str>,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) -> Option<Sent> {
        let Passed { model, chain, sent_at, kept } = passed;
        let served_by = served_by?;
        if !self.view.discover(&model, served_by) {
            return None;
        }
        let (work, context_tokens) = (PrefillWork::of(kept.size.prompt_tokens, 0), kept.size.prompt_tokens);
        let endpoint = EndpointId::of(served_by);
        let (booking, kinds) =
            Booking::placed(&mut self.ledger, endpoint, chain, (work, context_tokens), sent_at);
        self.publish(kinds, When::Now, now, out);
        Some(Sent { booking, kept })
    }

    /// No first token will come: says what came instead.
    pub(super) fn settle(
        &mut self,
        sent: &mut Sent,
        class: OutcomeClass,
        now: Timestamp,
        out: &mut Vec<Output>,
    ) {
        let is_judged =
            sent.kept.is_judged || matches!(class, OutcomeClass::Full | OutcomeClass::Unreachable);
        let class = if is_judged { class } else { OutcomeClass::None };
        sent.kept.count(Counter::Outcome(class), out);
        if matches!(class, OutcomeClass::Full | OutcomeClass::Unreachable) {
            out.push(Output::Count(Counter::Failed, 1));
        }
        let kinds = sent.booking.came_to(&mut self.ledger, class, now);
        // Immediately: the next request must not go to an endpoint that failed.
        self.publish(kinds, When::Now, now, out);
    }

    /// The response has ended; `is_whole`: as its endpoint meant it to.
    pub(super) fn finish(
        &mut self,
        clock: &impl Clock,
        mut responding: Responding,
        is_whole: bool,
        out: &mut Vec<Output>,
    ) {
        let now = clock.now();
        let mut kinds = Vec::new();
        let usage = responding.usage.take().and_then(|usage| usage.finish());
        if responding.class.is_none() {
            if responding.first_token.is_none() && is_whole {
                // Tokens in a shape that is not known here are tokens, too. And what a stop string has cut away is no failure.
                let has_ended = responding.first.as_ref().is_some_and(|first| first.has_ended_empty());
                if has_ended || usage.is_some_and(|usage| usage.output_tokens > 0) {
                    if responding.sent.kept.awaited.is_some() {
                        self.note_fetch(&responding.sent.kept.pool, true, now, out);
                    }
                    kinds = responding.served(&mut self.ledger, now, out);
                } else {
                    if responding.sent.kept.awaited.is_some() {
                        self.note_fetch(&responding.sent.kept.pool, false, now, out);
                    }
                    self.settle(&mut responding.sent, OutcomeClass::Empty, now, out);
                }
            }
            kinds.extend(usage.and_then(|usage| responding.learn_usage(usage, out)));
        }
        kinds.extend(responding.sent.booking.end(&mut self.ledger, now));
        self.publish(kinds, When::Soon, now, out);
    }

    fn take_if_sent(&mut self, id: ExchangeId) -> Option<Exchange> {
        match self.exchanges.get(&id)? {
            Exchange::Sent(_) | Exchange::Passed(_) => self.exchanges.remove(&id),
            Exchange::Reading(_)
            | Exchange::Held(_)
            | Exchange::Prefilling(_)
            | Exchange::Rescuing(_)
            | Exchange::Responding(_) => None,
        }
    }
}

// === impl Responding ===

impl Responding {
    fn new(sent: Sent, class: Option<OutcomeClass>, body: Body) -> Self {
        let Kept { api, is_stream, reads_usage, .. } = sent.kept;
        let is_success = class.is_none();
        let is_stream = is_stream && body.is_stream;
        let looks_into = api.filter(|_| is_success && body.is_plain);
        let usage = (is_success && reads_usage && body.is_plain).then(UsageScan::default);
        Self {
            first: looks_into.filter(|_| is_stream).map(|api| Box::new(FirstToken::new(api))),
            id: looks_into.filter(|api| *api == Api::Responses).map(|_| Box::new(IdScan::new(is_stream))),
            usage,
            sent,
            class,
            is_stream,
            first_token: None,
            watch: Watch::End,
        }
    }

    /// One that is no success, and at which nothing is to be seen.
    pub(super) fn failed(sent: Sent, class: OutcomeClass) -> Self {
        Self::new(sent, Some(class), Body { is_stream: false, is_plain: false })
    }

    /// The request, if its first token may still come.
    pub(super) fn waiting(&mut self) -> Option<&mut Sent> {
        (self.class.is_none() && self.first_token.is_none()).then_some(&mut self.sent)
    }

    /// Takes a piece of the body. Returns whether the first token is in it.
    fn take_piece(&mut self, bytes: usize, tail: &[u8]) -> bool {
        if let Some(usage) = &mut self.usage {
            usage.push(tail);
        }
        if self.class.is_some() || self.first_token.is_some() {
            return false;
        }
        self.first.as_mut().map_or(bytes > 0, |first| first.push(tail))
    }

    /// The event of a response that the engine stores, if its id is in this piece.
    fn stored(&mut self, piece: &[u8]) -> Option<Stored> {
        let ResponseId(response) = self.id.as_mut()?.push(piece)?;
        self.id = None;
        Some(Stored { response, endpoint: self.sent.booking.endpoint().0 })
    }

    /// Publishes what the parts of the body to report are from now on, if that has changed.
    pub(super) fn set_watch(&mut self, out: &mut Vec<Output>) {
        let is_waiting = self.class.is_none() && self.first_token.is_none();
        if !is_waiting && self.is_stream {
            // The id comes before the first token, or not at all.
            self.id = None;
        }
        let watch =
            if self.id.as_ref().is_some_and(|id| !id.is_done()) || (is_waiting && self.first.is_some()) {
                Watch::Whole
            } else if self.usage.is_some() {
                Watch::Tail(TAIL_BYTES_MAX)
            } else if is_waiting {
                Watch::FirstByte
            } else {
                Watch::End
            };
        if std::mem::replace(&mut self.watch, watch) != watch {
            out.push(Output::Watch(watch));
        }
    }

    /// The endpoint has served the request, if that is a request for work.
    fn served(&mut self, ledger: &mut Ledger, now: Timestamp, out: &mut Vec<Output>) -> Vec<Kind> {
        let Sent { booking, kept } = &mut self.sent;
        let class = if kept.is_judged { OutcomeClass::Served } else { OutcomeClass::None };
        kept.count(Counter::Outcome(class), out);
        if kept.is_judged {
            booking.served(ledger, self.first_token.filter(|_| self.is_stream), now)
        } else {
            booking.came_to(ledger, class, now)
        }
    }

    /// What the first token of a decode leg shows of the transfer.
    fn transferred(&self, time: FirstTokenTime, out: &mut Vec<Output>) -> Option<Kind> {
        let awaited = self.sent.kept.awaited.filter(|_| self.is_stream)?;
        awaited.seen(self.sent.booking.endpoint(), time, out)
    }

    /// Counts the tokens that the engine found in its cache, and returns the event from which pool and endpoint learn.
    fn learn_usage(&self, usage: Usage, out: &mut Vec<Output>) -> Option<Kind> {
        let Sent { booking, kept } = &self.sent;
        if kept.awaited.is_some() {
            // The prompt's tokens were counted with the prefill leg.
            let output_tokens = (usage.output_tokens > 0).then_some(usage.output_tokens);
            let endpoint = booking.endpoint().0;
            let pool = kept.pool.clone();
            return Some(Kind::UsageSeen(UsageSeen {
                pool,
                output_tokens,
                endpoint,
                ..UsageSeen::default()
            }));
        }
        let first_token = self.first_token.filter(|_| self.is_stream);
        usage_seen((&kept.pool, &kept.size), booking.endpoint(), (usage, first_token), out)
    }
}

/// Counts the tokens of a prompt, and returns the event from which its pool and the endpoint that computed it learn.
pub(super) fn usage_seen(
    (pool, size): (&str, &Estimate),
    endpoint: EndpointId,
    (usage, first_token): (Usage, Option<FirstTokenTime>),
    out: &mut Vec<Output>,
) -> Option<Kind> {
    if usage.prompt_tokens == 0 {
        return None;
    }
    let Estimate { text_bytes, media, prompt_tokens, held_tokens, cached_tokens } = *size;
    out.push(Output::Count(Counter::PromptTokens, usage.prompt_tokens));
    out.push(Output::Count(Counter::PredictedTokens, cached_tokens));
    let expected = float(cached_tokens) / float(prompt_tokens.max(1));
    if let Some(cached) = usage.cached_tokens {
        out.push(Output::Count(Counter::CachedTokens, cached));
        let actual = float(cached) / float(usage.prompt_tokens);
        let error_percent = count((expected - actual).abs() * 100.0);
        out.push(Output::Record(Histogram::PredictionErrorPercent, error_percent));
    }
    let cached = usage.cached_tokens.unwrap_or_else(|| count(expected * float(usage.prompt_tokens)));
    let work = PrefillWork::of(usage.prompt_tokens, cached);
    Some(Kind::UsageSeen(UsageSeen {
        pool: pool.to_owned(),
        prompt_bytes: text_bytes.unwrap_or(0),
        prompt_tokens: usage.prompt_tokens,
        cached_tokens: usage.cached_tokens,
        // Counting and embedding have no output.
        output_tokens: (usage.output_tokens > 0).then_some(usage.output_tokens),
        endpoint: endpoint.0,
        media: if media.is_empty() { Vec::new() } else { media.0.to_vec() },
        expected_cached_tokens: held_tokens,
        expected_prompt_tokens: prompt_tokens,
        // What was ahead of it is other requests' estimates: it must not be nearly all of the time.
        work_ahead: first_token
            .and_then(|time| time.backlog)
            .filter(|backlog| backlog.0 / BACKLOG_FACTOR_MAX <= work.0)
            .map(|backlog| backlog.plus(work).0),
        ttft_us: first_token.map_or(0, |time| time.us),
    }))
}

// === impl Body ===

impl Body {
    /// Without headers, as from a caller that has none, it is what was asked for.
    fn of(headers: Headers<'_>) -> Self {
        let value =
            |name| headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_slice());
        let is_events =
            |value: &[u8]| value.get(..EVENTS.len()).is_some_and(|start| start.eq_ignore_ascii_case(EVENTS));
        Self {
            is_stream: value("content-type").is_none_or(is_events),
            is_plain: value("content-encoding")
                .is_none_or(|encoding| encoding.is_empty() || encoding == b"identity"),
        }
    }
}
