//! A request on its way: what the filter remembers of it until its answer has ended, and what it learns then.

use crate::host;
use crate::metrics::{Count, Spread};
use crate::proxy::Proxy;
use warmpath_core::ids::EndpointId;
use warmpath_core::num::{count, float};
use warmpath_core::request::Booking;
use warmpath_core::usage::{Usage, UsageScan};
use warmpath_core::wire::{Kind, Ratio};

/// Set on answers when the configuration says `explain`.
pub(crate) const DECISION_HEADER: &str = "x-warmpath-decision";

/// A request on its way.
pub(crate) struct Flight {
    pub(crate) booking: Booking,
    pub(crate) pool: String,
    /// Prompt text in bytes, zero where the prompt was given in tokens.
    pub(crate) text_bytes: u64,
    pub(crate) predicted_tokens: u64,
    pub(crate) prompt_tokens: u64,
    pub(crate) is_stream: bool,
    pub(crate) has_usage: bool,
    pub(crate) summary: Option<String>,
}

/// What has been seen of the answer.
#[derive(Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) has_first_byte: bool,
    pub(crate) has_ended: bool,
    pub(crate) usage: UsageScan,
}

// === impl Flight ===

impl Flight {
    pub(crate) fn answered(&mut self, proxy: &mut Proxy, answer: &mut Answer, end_of_stream: bool) {
        answer.status = host::response_header(":status")
            .and_then(|status| std::str::from_utf8(&status).ok()?.parse().ok())
            .unwrap_or(0);
        answer.has_ended = end_of_stream;
        let served = host::text_property(vec!["upstream", "address"]).map(|address| EndpointId::of(&address));
        if let Some(served) = served
            && served != self.booking.endpoint()
        {
            proxy.metrics.count(Count::Retried);
            let kinds = self.booking.moved(&mut proxy.ledger, served);
            // At once: who routes next must not go where this one failed.
            proxy.say(kinds, host::now());
        }
        if answer.status == 429 || (answer.status >= 502 && answer.status <= 504) {
            proxy.metrics.count(Count::Failed);
            proxy.say([self.booking.failed()], host::now());
        }
        if let Some(summary) = &self.summary {
            host::set_response_header(DECISION_HEADER, summary);
        }
    }

    pub(crate) fn first_byte(&mut self, proxy: &mut Proxy, answer: &mut Answer) {
        answer.has_first_byte = true;
        let now = host::now();
        let has_ttft = self.is_stream && answer.status == 200;
        if has_ttft {
            proxy.metrics.record(Spread::TtftMs, self.booking.age_us(now) / 1000);
        }
        if answer.status < 500 && answer.status != 429 {
            let kinds = self.booking.first_byte(&mut proxy.ledger, has_ttft, now);
            proxy.say_soon(kinds, now);
        }
    }

    pub(crate) fn end(self, proxy: &mut Proxy, answer: &Answer) {
        let now = host::now();
        let mut kinds = Vec::with_capacity(2);
        if answer.status == 200
            && let Some(usage) = answer.usage.finish()
        {
            kinds.extend(self.learn_usage(proxy, usage));
        }
        if !answer.has_ended {
            proxy.metrics.count(Count::Aborted);
        }
        kinds.push(self.booking.end(&mut proxy.ledger));
        proxy.say_soon(kinds, now);
    }

    fn learn_usage(&self, proxy: &mut Proxy, usage: Usage) -> Option<Kind> {
        if usage.prompt_tokens == 0 {
            return None;
        }
        proxy.metrics.add(Count::PromptTokens, usage.prompt_tokens);
        proxy.metrics.add(Count::PredictedTokens, self.predicted_tokens);
        if let Some(cached) = usage.cached_tokens {
            proxy.metrics.add(Count::CachedTokens, cached);
            let predicted = float(self.predicted_tokens) / float(self.prompt_tokens.max(1));
            let really = float(cached) / float(usage.prompt_tokens);
            proxy.metrics.record(Spread::PredictionErrorPercent, count((predicted - really).abs() * 100.0));
        }
        (self.text_bytes > 0).then(|| {
            Kind::Ratio(Ratio {
                pool: self.pool.clone(),
                bytes: self.text_bytes,
                tokens: usage.prompt_tokens,
                cached_tokens: usage.cached_tokens,
                // Counting and embedding have no answer.
                output_tokens: (usage.output_tokens > 0).then_some(usage.output_tokens),
            })
        })
    }
}
