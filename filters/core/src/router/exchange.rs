//! One request and its response, from the first header to the last byte.
//!
//! ```text
//!   head ─┬─ nothing to read ──────────────► route ─┬─────────────► Sent ─► Responding ─► (gone)
//!         └─► Reading ── body is whole ────►   │    └─► Passed ─────┘ │          │
//!                                              └ reply ───────────────┴──────────┴── the stream is deleted ─► (gone)
//! ```
//!
//! Each state owns what is valid in it and nothing else: a booking exists exactly as long as `Sent` and `Responding`
//! do, so no path can forget to release it or release it twice.

use super::head::{DECISION_HEADER, Head};
use super::io::{ExchangeId, Output, PluginId, Watch};
use super::ledger::{Booking, FirstTokenTime, Ledger};
use super::metrics::{Counter, Histogram};
use super::shared::SharedMap;
use super::siblings::When;
use super::status::class_of;
use super::{Clock, Router};
use crate::config::Config;
use crate::cost::PrefillWork;
use crate::ids::{CellHash, EndpointId, ResponseId};
use crate::num::{count, float};
use crate::prompt::{Api, Media};
use crate::response::{TAIL_BYTES_MAX, Usage, UsageScan};
use crate::time::Timestamp;
use crate::wire::{Kind, OutcomeClass, UsageSeen};
use std::rc::Rc;

/// How many times its own work may have been ahead of a request whose first token teaches a speed.
const BACKLOG_FACTOR_MAX: u64 = 4;

/// The state of one request.
#[derive(Debug)]
pub(super) enum Exchange {
    /// Waits for the end of its body.
    Reading(Reading),
    /// Was left to Envoy's own policy.
    Passed(Passed),
    /// Was sent to an endpoint.
    Sent(Sent),
    /// Its response has begun.
    Responding(Responding),
}

/// See [`Exchange::Reading`].
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) config: Rc<Config>,
    pub(super) api: Api,
    pub(super) wants_explanation: bool,
    /// Whether it is a request for work, so that what it comes to says something of the endpoint.
    pub(super) is_judged: bool,
    /// The stored response that the path names.
    pub(super) stored: Option<ResponseId>,
}

/// See [`Exchange::Sent`].
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) booking: Booking,
    pub(super) kept: Kept,
}

/// What is kept of a request for its response.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) pool: String,
    pub(super) size: Estimate,
    pub(super) is_stream: bool,
    /// Whether its usage is read.
    pub(super) reads_usage: bool,
    /// Whether what it comes to says something of the endpoint: only requests for work do.
    pub(super) is_judged: bool,
    /// When its prefill is over by the model: of a response that is no stream, which shows no first token.
    pub(super) prefilled_at: Option<Timestamp>,
    /// When a first token is overdue for so long that the endpoint counts as silent; `None`: that was published.
    pub(super) silent_at: Option<Timestamp>,
    /// The decision in one line, where the configuration explains.
    pub(super) summary: Option<String>,
}

/// See [`Exchange::Passed`].
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) model: String,
    pub(super) chain: Vec<CellHash>,
    pub(super) sent_at: Timestamp,
    /// What it will be once its endpoint is known, but for the booking.
    pub(super) kept: Kept,
}

/// The size of a prompt, as estimated at dispatch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Estimate {
    /// Prompt text in bytes; `None` where the prompt was given in tokens.
    pub(super) text_bytes: Option<u64>,
    /// Parts that are not text.
    pub(super) media: Media,
    pub(super) prompt_tokens: u64,
    /// Tokens that the endpoint should hold.
    pub(super) held_tokens: u64,
    /// Tokens of those that it was believed to find.
    pub(super) cached_tokens: u64,
}

/// See [`Exchange::Responding`].
#[derive(Debug)]
pub(super) struct Responding {
    sent: Sent,
    /// What the status says; `None`: a success.
    class: Option<OutcomeClass>,
    /// Its first token, once it has come. The time of a response that is no stream is that of all tokens.
    first_token: Option<FirstTokenTime>,
    usage: UsageScan,
}

// === impl Router ===

impl<S: SharedMap> Router<S> {
    pub(super) fn request_head(
        &mut self,
        clock: &impl Clock,
        id: ExchangeId,
        plugin: PluginId,
        (headers, ends): (&[(String, Vec<u8>)], bool),
        out: &mut Vec<Output>,
    ) {
        let Some(config) = self.config_of(plugin) else { return };
        let head = Head::read(headers, config.is_explaining, out);
        let reading = Reading {
            config,
            api: head.api(),
            wants_explanation: head.wants_explanation,
            is_judged: head.is_post,
            stored: head.stored(),
        };
        if let Some(unread) = head.unread(ends) {
            self.route_body(clock, id, &reading, Err(unread), out);
        } else {
            self.exchanges.insert(id, Exchange::Reading(reading));
            out.push(Output::Pause);
        }
    }

    /// A response has begun, from the chosen endpoint or from an alternate.
    pub(super) fn response_head(
        &mut self,
        clock: &impl Clock,
        id: ExchangeId,
        (status, served_by, ends): (Option<u16>, Option<&str>, bool),
        out: &mut Vec<Output>,
    ) {
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
            out.push(Output::Count(Counter::Retried, 1));
            let kinds = sent.booking.moved(&mut self.ledger, served_by, clock.now());
            // Immediately: the next request must not go to the endpoint that failed.
            self.publish(kinds, When::Now, clock.now(), out);
        }
        let class = class_of(status);
        if let Some(class) = class {
            self.settle(&mut sent, class, clock.now(), out);
        }
        if let Some(summary) = sent.kept.summary.take() {
            out.push(Output::SetResponseHeader(DECISION_HEADER, summary));
        }
        let watch = if sent.kept.reads_usage { Watch::Tail(TAIL_BYTES_MAX) } else { Watch::FirstByte };
        out.push(Output::Watch(watch));
        let responding = Responding { sent, class, first_token: None, usage: UsageScan::default() };
        if ends {
            self.finish(clock, responding, true, out);
        } else {
            self.exchanges.insert(id, Exchange::Responding(responding));
        }
    }

    pub(super) fn response_chunk(
        &mut self,
        clock: &impl Clock,
        id: ExchangeId,
        (bytes, tail, ends): (usize, &[u8], bool),
        out: &mut Vec<Output>,
    ) {
        let Some(Exchange::Responding(responding)) = self.exchanges.get_mut(&id) else { return };
        let is_first = bytes > 0 && responding.first_token.is_none();
        if responding.sent.kept.reads_usage {
            responding.usage.push(tail);
        } else if is_first {
            out.push(Output::Watch(Watch::End));
        }
        if is_first && responding.class.is_none() {
            let kinds = first_token(&mut self.ledger, responding, clock, out);
            self.publish(kinds, When::Soon, clock.now(), out);
        }
        if ends && let Some(Exchange::Responding(responding)) = self.exchanges.remove(&id) {
            self.finish(clock, responding, true, out);
        }
    }

    /// The host deleted the stream. A response that has not ended was cut short.
    pub(super) fn ended(&mut self, clock: &impl Clock, id: ExchangeId, out: &mut Vec<Output>) {
        match self.exchanges.remove(&id) {
            None | Some(Exchange::Reading(_)) => {}
            Some(Exchange::Passed(_)) => out.push(Output::Count(Counter::Aborted, 1)),
            Some(Exchange::Sent(sent)) => {
                out.push(Output::Count(Counter::Aborted, 1));
                out.push(Output::Count(Counter::Outcome(OutcomeClass::None), 1));
                let ended = sent.booking.end(&mut self.ledger, clock.now());
                self.publish(ended, When::Soon, clock.now(), out);
            }
            Some(Exchange::Responding(responding)) => {
                out.push(Output::Count(Counter::Aborted, 1));
                self.finish(clock, responding, false, out);
            }
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

    /// Publishes the silence of endpoints whose first tokens are overdue, once for each request.
    pub(super) fn note_silence(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let mut silent = Vec::new();
        for exchange in self.exchanges.values_mut() {
            if let Exchange::Sent(sent) = exchange
                && sent.kept.silent_at.is_some_and(|at| at <= now)
            {
                sent.kept.silent_at = None;
                silent.push(sent.booking.silent(now));
            }
        }
        for kind in silent {
            out.push(Output::Count(Counter::Outcome(OutcomeClass::Silent), 1));
            self.publish([kind], When::Soon, now, out);
        }
    }

    /// No first token will come: says what came instead.
    fn settle(&mut self, sent: &mut Sent, class: OutcomeClass, now: Timestamp, out: &mut Vec<Output>) {
        let is_judged =
            sent.kept.is_judged || matches!(class, OutcomeClass::Full | OutcomeClass::Unreachable);
        let class = if is_judged { class } else { OutcomeClass::None };
        out.push(Output::Count(Counter::Outcome(class), 1));
        if matches!(class, OutcomeClass::Full | OutcomeClass::Unreachable) {
            out.push(Output::Count(Counter::Failed, 1));
        }
        let kinds = sent.booking.came_to(&mut self.ledger, class, now);
        // Immediately: the next request must not go to an endpoint that failed.
        self.publish(kinds, When::Now, now, out);
    }

    fn finish(&mut self, clock: &impl Clock, responding: Responding, is_whole: bool, out: &mut Vec<Output>) {
        let Responding { mut sent, class, first_token, usage } = responding;
        let now = clock.now();
        let mut kinds = Vec::new();
        if class.is_none() {
            if first_token.is_none() && is_whole {
                self.settle(&mut sent, OutcomeClass::Empty, now, out);
            }
            kinds.extend(
                usage.finish().and_then(|usage| {
                    sent.learn_usage(usage, first_token.filter(|_| sent.kept.is_stream), out)
                }),
            );
        }
        kinds.extend(sent.booking.end(&mut self.ledger, now));
        self.publish(kinds, When::Soon, now, out);
    }

    fn take_if_sent(&mut self, id: ExchangeId) -> Option<Exchange> {
        match self.exchanges.get(&id)? {
            Exchange::Sent(_) | Exchange::Passed(_) => self.exchanges.remove(&id),
            Exchange::Reading(_) | Exchange::Responding(_) => None,
        }
    }
}

fn first_token(
    ledger: &mut Ledger,
    responding: &mut Responding,
    clock: &impl Clock,
    out: &mut Vec<Output>,
) -> Vec<Kind> {
    let sent = &mut responding.sent;
    let now = clock.now();
    let time = sent.booking.first_token_time(now);
    if sent.kept.is_stream {
        out.push(Output::Record(Histogram::TtftMs, time.us / 1000));
    }
    responding.first_token = Some(time);
    let time = sent.kept.is_stream.then_some(time);
    let class = if sent.kept.is_judged { OutcomeClass::Served } else { OutcomeClass::None };
    out.push(Output::Count(Counter::Outcome(class), 1));
    if sent.kept.is_judged {
        sent.booking.served(ledger, time, now)
    } else {
        sent.booking.came_to(ledger, class, now)
    }
}

// === impl Sent ===

impl Sent {
    /// Counts the tokens that the engine found in its cache, and returns the event from which pool and endpoint learn.
    fn learn_usage(
        &self,
        usage: Usage,
        first_token: Option<FirstTokenTime>,
        out: &mut Vec<Output>,
    ) -> Option<Kind> {
        if usage.prompt_tokens == 0 {
            return None;
        }
        let Estimate { text_bytes, media, prompt_tokens, held_tokens, cached_tokens } = self.kept.size;
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
            pool: self.kept.pool.clone(),
            prompt_bytes: text_bytes.unwrap_or(0),
            prompt_tokens: usage.prompt_tokens,
            cached_tokens: usage.cached_tokens,
            // Counting and embedding have no output.
            output_tokens: (usage.output_tokens > 0).then_some(usage.output_tokens),
            endpoint: self.booking.endpoint().0,
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
}
