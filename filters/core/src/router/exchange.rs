//! One request and its response, from the first header to the last byte.
//!
//! ```text
//!   head ─┬─ nothing to read ──────────────► route ─► Sent ─► Responding ─► (gone)
//!         └─► Reading ── body is whole ────►   │        │          │
//!                                              └ reply ─┴──────────┴── the stream is deleted ─► (gone)
//! ```
//!
//! Each state owns what is valid in it and nothing else: a booking exists exactly as long as `Sent` and `Responding`
//! do, so no path can forget to release it or release it twice.

use super::failure::Verdict;
use super::head::{DECISION_HEADER, Head};
use super::io::{ExchangeId, Output, PluginId, Watch};
use super::ledger::Booking;
use super::metrics::{Counter, Histogram};
use super::shared::SharedMap;
use super::siblings::When;
use super::{Clock, Router};
use crate::config::Config;
use crate::ids::EndpointId;
use crate::num::{count, float};
use crate::prompt::Api;
use crate::usage::{TAIL_BYTES_MAX, Usage, UsageScan};
use crate::wire::{Kind, UsageSeen};
use std::rc::Rc;

/// The state of one request.
#[derive(Debug)]
pub(super) enum Exchange {
    /// Waits for the end of its body.
    Reading(Reading),
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
}

/// See [`Exchange::Sent`].
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) booking: Booking,
    pub(super) pool: String,
    /// Prompt text in bytes; `None` where the prompt was given in tokens.
    pub(super) text_bytes: Option<u64>,
    pub(super) predicted_tokens: u64,
    pub(super) prompt_tokens: u64,
    pub(super) is_stream: bool,
    /// Whether its usage is read.
    pub(super) reads_usage: bool,
    /// The decision in one line, where the configuration explains.
    pub(super) summary: Option<String>,
}

/// See [`Exchange::Responding`].
#[derive(Debug)]
pub(super) struct Responding {
    sent: Sent,
    verdict: Verdict,
    has_first_byte: bool,
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
        let reading = Reading { config, api: head.api(), wants_explanation: head.wants_explanation };
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
        (status, served_by, ends): (Option<u16>, Option<EndpointId>, bool),
        out: &mut Vec<Output>,
    ) {
        let Some(Exchange::Sent(mut sent)) = self.take_if_sent(id) else { return };
        if let Some(served_by) = served_by
            && served_by != sent.booking.endpoint()
        {
            out.push(Output::Count(Counter::Retried, 1));
            let kinds = sent.booking.moved(&mut self.ledger, served_by);
            // Immediately: the next request must not go to the endpoint that failed.
            self.publish(kinds, When::Now, clock.now(), out);
        }
        let verdict = Verdict::of(status);
        if verdict == Verdict::Failed {
            out.push(Output::Count(Counter::Failed, 1));
            self.publish([sent.booking.failed()], When::Now, clock.now(), out);
        }
        if let Some(summary) = sent.summary.take() {
            out.push(Output::SetResponseHeader(DECISION_HEADER, summary));
        }
        let watch = if sent.reads_usage { Watch::Tail(TAIL_BYTES_MAX) } else { Watch::FirstByte };
        out.push(Output::Watch(watch));
        let responding = Responding { sent, verdict, has_first_byte: false, usage: UsageScan::default() };
        if ends {
            self.finish(clock, responding, out);
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
        let is_first = bytes > 0 && !responding.has_first_byte;
        responding.has_first_byte |= is_first;
        if responding.sent.reads_usage {
            responding.usage.push(tail);
        } else if is_first {
            out.push(Output::Watch(Watch::End));
        }
        if is_first {
            let kinds = first_byte(&mut self.ledger, responding, clock, out);
            self.publish(kinds, When::Soon, clock.now(), out);
        }
        if ends && let Some(Exchange::Responding(responding)) = self.exchanges.remove(&id) {
            self.finish(clock, responding, out);
        }
    }

    /// The host deleted the stream. A response that has not ended was cut short.
    pub(super) fn ended(&mut self, clock: &impl Clock, id: ExchangeId, out: &mut Vec<Output>) {
        match self.exchanges.remove(&id) {
            None | Some(Exchange::Reading(_)) => {}
            Some(Exchange::Sent(sent)) => {
                out.push(Output::Count(Counter::Aborted, 1));
                let ended = sent.booking.end(&mut self.ledger);
                self.publish([ended], When::Soon, clock.now(), out);
            }
            Some(Exchange::Responding(responding)) => {
                out.push(Output::Count(Counter::Aborted, 1));
                self.finish(clock, responding, out);
            }
        }
    }

    fn finish(&mut self, clock: &impl Clock, responding: Responding, out: &mut Vec<Output>) {
        let Responding { sent, verdict, usage, .. } = responding;
        let usage = if verdict == Verdict::Served { usage.finish() } else { None };
        let seen = usage.and_then(|usage| sent.learn_usage(usage, out));
        let ended = sent.booking.end(&mut self.ledger);
        self.publish(seen.into_iter().chain([ended]), When::Soon, clock.now(), out);
    }

    fn take_if_sent(&mut self, id: ExchangeId) -> Option<Exchange> {
        match self.exchanges.get(&id)? {
            Exchange::Sent(_) => self.exchanges.remove(&id),
            Exchange::Reading(_) | Exchange::Responding(_) => None,
        }
    }
}

fn first_byte(
    ledger: &mut super::ledger::Ledger,
    responding: &mut Responding,
    clock: &impl Clock,
    out: &mut Vec<Output>,
) -> Vec<Kind> {
    let booking = &mut responding.sent.booking;
    let has_ttft = responding.sent.is_stream && responding.verdict == Verdict::Served;
    if has_ttft {
        out.push(Output::Record(Histogram::TtftMs, booking.age_us(clock.now()) / 1000));
    }
    if responding.verdict.ends_prefill() {
        booking.first_byte(ledger, has_ttft, clock.now())
    } else {
        Vec::new()
    }
}

// === impl Sent ===

impl Sent {
    /// Counts the tokens that the engine found in its cache, and returns the event from which the pool learns.
    fn learn_usage(&self, usage: Usage, out: &mut Vec<Output>) -> Option<Kind> {
        if usage.prompt_tokens == 0 {
            return None;
        }
        out.push(Output::Count(Counter::PromptTokens, usage.prompt_tokens));
        out.push(Output::Count(Counter::PredictedTokens, self.predicted_tokens));
        if let Some(cached) = usage.cached_tokens {
            out.push(Output::Count(Counter::CachedTokens, cached));
            let predicted = float(self.predicted_tokens) / float(self.prompt_tokens.max(1));
            let actual = float(cached) / float(usage.prompt_tokens);
            let error_percent = count((predicted - actual).abs() * 100.0);
            out.push(Output::Record(Histogram::PredictionErrorPercent, error_percent));
        }
        let text_bytes = self.text_bytes?;
        Some(Kind::UsageSeen(UsageSeen {
            pool: self.pool.clone(),
            prompt_bytes: text_bytes,
            prompt_tokens: usage.prompt_tokens,
            cached_tokens: usage.cached_tokens,
            // Counting and embedding have no output.
            output_tokens: (usage.output_tokens > 0).then_some(usage.output_tokens),
        }))
    }
}
