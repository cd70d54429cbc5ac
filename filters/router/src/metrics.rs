//! The filter's metrics in Envoy's own stats, as `wasmcustom.warmpath.*`. Names are part of the interface:
//! docs/metrics.md lists them.

use crate::host::{self, Metric};
use fnv::FnvHashMap;
use warmpath_core::decision::{NoEndpoint, Reason};
use warmpath_core::prompt::PromptError;

/// Why a request's prompt was not looked at; it was routed by load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// The body could not be read as the format that its path names.
    Prompt(PromptError),
    /// The body is compressed.
    Encoded,
    /// The body is said not to be JSON.
    NotJson,
    /// There is no body, or none that a prompt could be in.
    NoBody,
}

/// Something to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// A choice.
    Decision(Reason),
    /// A request that was answered here.
    Rejected(NoEndpoint),
    /// A prompt that was not read.
    Unread(Unread),
    /// Envoy took an alternate: the first choice failed.
    Retried,
    /// No endpoint answered, or the last one answered with 429 or 503.
    Failed,
    /// The client or the engine left before the end.
    Aborted,
    /// Tokens of prompts, as the engines counted them.
    PromptTokens,
    /// Tokens that the view expected in the chosen endpoint's cache.
    PredictedTokens,
    /// Tokens that the engine found there.
    CachedTokens,
    /// Another VM appended in between, and the append was done again.
    LogConflict,
    /// The log ran round before this VM read it.
    LogOverrun,
    /// Something in shared data or in a message could not be read.
    Malformed,
    /// A stream to the controller was opened.
    FeedOpened,
    /// A stream to the controller ended.
    FeedClosed,
    /// Events for the controller were dropped, because it did not take them.
    FeedDropped,
    /// A snapshot was applied to its end.
    FeedSnapshot,
}

/// Something to show the last value of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// 1 while this process has a stream to the controller.
    FeedConnected,
    /// Endpoints in the view.
    Endpoints,
    /// Distinct cells in the view.
    Cells,
}

/// Something to show the distribution of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spread {
    /// Dispatch to first body byte of streamed answers, in milliseconds.
    TtftMs,
    /// How far the predicted share of cached prompt tokens was off, in hundredths.
    PredictionErrorPercent,
}

/// The metrics of one VM; a metric is opened when it is first used.
///
/// Counters are added up here and told on the tick: a request counts three or four things, and each would be a
/// hostcall. Spreads are told at once, for a sum of them would no longer be a spread.
#[derive(Default)]
pub(crate) struct Metrics {
    counters: FnvHashMap<&'static str, Counter>,
    ids: FnvHashMap<&'static str, u32>,
}

#[derive(Default)]
struct Counter {
    id: Option<u32>,
    untold: u64,
}

// === impl Metrics ===

impl Metrics {
    /// Adds one.
    pub(crate) fn count(&mut self, what: Count) {
        self.add(what, 1);
    }

    /// Adds `by`.
    pub(crate) fn add(&mut self, what: Count, by: u64) {
        let counter = self.counters.entry(what.name()).or_default();
        counter.untold = counter.untold.saturating_add(by);
    }

    /// Tells what was counted since the last time.
    pub(crate) fn flush(&mut self) {
        for (name, counter) in self.counters.iter_mut().filter(|(_, counter)| counter.untold > 0) {
            counter.id = counter.id.or_else(|| host::define_metric(Metric::Counter, name));
            if let Some(id) = counter.id {
                host::add_to_metric(id, std::mem::take(&mut counter.untold));
            }
        }
    }

    /// Shows a value.
    pub(crate) fn set(&mut self, what: Level, value: u64) {
        if let Some(id) = self.id(Metric::Gauge, what.name()) {
            host::record_metric(id, value);
        }
    }

    /// Records a value.
    pub(crate) fn record(&mut self, what: Spread, value: u64) {
        if let Some(id) = self.id(Metric::Histogram, what.name()) {
            host::record_metric(id, value);
        }
    }

    fn id(&mut self, metric: Metric, name: &'static str) -> Option<u32> {
        if let Some(id) = self.ids.get(name) {
            return Some(*id);
        }
        let id = host::define_metric(metric, name)?;
        self.ids.insert(name, id);
        Some(id)
    }
}

// === impl Count ===

impl Count {
    fn name(self) -> &'static str {
        match self {
            Self::Decision(Reason::Warm) => "warmpath.decision.warm",
            Self::Decision(Reason::Spill) => "warmpath.decision.spill",
            Self::Decision(Reason::Cold) => "warmpath.decision.cold",
            Self::Decision(Reason::Load) => "warmpath.decision.load",
            Self::Rejected(NoEndpoint::UnknownModel) => "warmpath.rejected.model_not_found",
            Self::Rejected(NoEndpoint::NoneKnown) => "warmpath.rejected.no_endpoint_known",
            Self::Rejected(NoEndpoint::NoneHealthy) => "warmpath.rejected.no_endpoint_healthy",
            Self::Unread(reason) => reason.name(),
            Self::Retried => "warmpath.retried",
            Self::Failed => "warmpath.failed",
            Self::Aborted => "warmpath.aborted",
            Self::PromptTokens => "warmpath.tokens.prompt",
            Self::PredictedTokens => "warmpath.tokens.predicted",
            Self::CachedTokens => "warmpath.tokens.cached",
            Self::LogConflict => "warmpath.log.conflict",
            Self::LogOverrun => "warmpath.log.overrun",
            Self::Malformed => "warmpath.malformed",
            Self::FeedOpened => "warmpath.feed.opened",
            Self::FeedClosed => "warmpath.feed.closed",
            Self::FeedDropped => "warmpath.feed.dropped",
            Self::FeedSnapshot => "warmpath.feed.snapshot",
        }
    }
}

impl Unread {
    fn name(self) -> &'static str {
        match self {
            Self::Prompt(PromptError::Empty) => "warmpath.unread.empty",
            Self::Prompt(PromptError::TooLarge) => "warmpath.unread.too_large",
            Self::Prompt(PromptError::Truncated) => "warmpath.unread.truncated",
            Self::Prompt(PromptError::NotUtf8) => "warmpath.unread.not_utf8",
            Self::Prompt(PromptError::NotJson) => "warmpath.unread.not_json",
            Self::Prompt(PromptError::WrongShape) => "warmpath.unread.wrong_shape",
            Self::Encoded => "warmpath.unread.encoded",
            Self::NotJson => "warmpath.unread.content_type",
            Self::NoBody => "warmpath.unread.no_body",
        }
    }
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::FeedConnected => "warmpath.feed.connected",
            Self::Endpoints => "warmpath.view.endpoints",
            Self::Cells => "warmpath.view.cells",
        }
    }
}

impl Spread {
    fn name(self) -> &'static str {
        match self {
            Self::TtftMs => "warmpath.ttft_ms",
            Self::PredictionErrorPercent => "warmpath.prediction_error_percent",
        }
    }
}
