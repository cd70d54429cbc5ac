//! The router's metrics and their names. Names are part of the interface: `docs/metrics.md` lists them.

use super::reasons::{HoldEnd, LegFailure, NotHeld, StaysWhole, Unread};
use crate::prompt::{PromptError, Unwritten};
use crate::routing::{NoEndpoint, Reason, Unsplit};
use crate::split::{HandoverError, Whole};
use crate::wire::{HeldFor, OutcomeClass};

/// A count that only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// A choice.
    Decision(Reason),
    /// No endpoint is known, or none that holds the prompt while endpoints are still being discovered: Envoy chose.
    Fallback,
    /// A choice among endpoints that are all unhealthy.
    LastResort,
    /// A request that the router rejected itself.
    Rejected(NoEndpoint),
    /// A request that the router rejected itself, because its model could not be read and there are several pools.
    RejectedUnread,
    /// A prompt that was not read.
    Unread(Unread),
    /// A prompt whose text is known as the engine computes it.
    Written,
    /// A prompt whose text is not, although its pool has a format of prompts.
    Unwritten(Unwritten),
    /// A request was paused for a body that the proxy did not show, and was resumed without it.
    Resumed,
    /// A request was held.
    Held(HeldFor),
    /// A request was refused instead of being held, or held on.
    NotHeld(NotHeld),
    /// It is held no more.
    HoldEnded(HoldEnd, HeldFor),
    /// A request that the router rejected itself: it has fields that only the router may set, and is too large to be edited.
    RejectedSteering,
    /// A request without the fields that only the router may set.
    SteeringRemoved,
    /// A request whose model was replaced in its body.
    Rewritten,
    /// The response came from an alternate: the first choice failed.
    Retried,
    /// No endpoint responded, or the last one is full (`status.rs` says which status means that).
    Failed,
    /// What a request came to.
    Outcome(OutcomeClass),
    /// A request was split.
    Split,
    /// A request was not, though its pool passes KV on.
    StaysWhole(StaysWhole),
    /// A prefill leg has failed.
    LegFailed(LegFailure),
    /// A prefill leg was sent again, to another endpoint.
    LegRetried,
    /// A request was split, and in the end one endpoint did it all.
    LocalPrefill,
    /// A decode leg failed before its response began.
    DecodeLegFailed,
    /// The client got another endpoint's response in place of such a failure.
    DecodeLegRescued,
    /// The client got the failure: nobody else could serve it.
    DecodeLegLost,
    /// A decode leg was sent of whose request no copy was kept, for want of room.
    DecodeLegNotKept,
    /// The client or the engine left before the end.
    Aborted,
    /// Tokens of prompts, as the engines counted them.
    PromptTokens,
    /// Tokens that the view expected in the chosen endpoint's cache.
    PredictedTokens,
    /// Tokens that the engine found there.
    CachedTokens,
    /// Another VM appended in between, and the append was repeated.
    LogConflict,
    /// The log wrapped around before this VM had read it.
    LogOverrun,
    /// Events were dropped, because too many were pending for the log.
    LogDropped,
    /// This VM wrote a checkpoint for those that start.
    CheckpointWritten,
    /// This VM started, or the log had overtaken it, and it read a checkpoint.
    CheckpointRead,
    /// A checkpoint was cut to its bound.
    CheckpointCut,
    /// A record in shared data or a message could not be read.
    Malformed,
    /// A stream to the controller was opened.
    UplinkOpened,
    /// A stream to the controller ended.
    UplinkClosed,
    /// Events for the controller were dropped, because too many were pending.
    UplinkDropped,
    /// A snapshot was applied completely.
    UplinkSnapshot,
}

/// A metric whose last value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gauge {
    /// 1 while this process has a stream to the controller.
    UplinkConnected,
    /// Endpoints in the view.
    Endpoints,
    /// Distinct cells in the view.
    Cells,
    /// Requests that the process holds.
    Held(HeldFor),
    /// Bytes of their bodies.
    HeldBytes(HeldFor),
}

/// A metric whose distribution counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Histogram {
    /// Dispatch to first body byte of streamed responses, in milliseconds.
    TtftMs,
    /// Difference between the predicted and the actual share of cached prompt tokens, in percentage points.
    PredictionErrorPercent,
    /// Dispatch to response of prefill legs that handed over, in milliseconds.
    PrefillLegMs,
    /// Dispatch to first token of streamed decode legs, in milliseconds: the transfer, and a step.
    TransferMs,
    /// The same as predicted, for the same requests.
    TransferPredictedMs,
    /// How long a request was held that went on, in milliseconds.
    HeldMs(HeldFor),
}

// === impl Counter ===

impl Counter {
    /// All of them, so that a shell can define them at the start: a rate needs a series that begins at zero.
    pub const ALL: [Self; 106] = [
        Self::Decision(Reason::Warm),
        Self::Decision(Reason::Spill),
        Self::Decision(Reason::Cold),
        Self::Decision(Reason::Load),
        Self::Decision(Reason::Stored),
        Self::Fallback,
        Self::LastResort,
        Self::Rejected(NoEndpoint::UnknownModel),
        Self::Rejected(NoEndpoint::NoneKnown),
        Self::RejectedUnread,
        Self::RejectedSteering,
        Self::Unread(Unread::Prompt(PromptError::Empty)),
        Self::Unread(Unread::Prompt(PromptError::TooLarge)),
        Self::Unread(Unread::Prompt(PromptError::Truncated)),
        Self::Unread(Unread::Prompt(PromptError::NotUtf8)),
        Self::Unread(Unread::Prompt(PromptError::NotJson)),
        Self::Unread(Unread::Prompt(PromptError::WrongShape)),
        Self::Unread(Unread::Prompt(PromptError::TooDeep)),
        Self::Unread(Unread::Encoded),
        Self::Unread(Unread::NotJson),
        Self::Unread(Unread::Form),
        Self::Unread(Unread::NoBody),
        Self::Unread(Unread::Withheld),
        Self::Written,
        Self::Unwritten(Unwritten::Api),
        Self::Unwritten(Unwritten::Stored),
        Self::Unwritten(Unwritten::Tokens),
        Self::Unwritten(Unwritten::NoTemplate),
        Self::Unwritten(Unwritten::Media),
        Self::Unwritten(Unwritten::Malformed),
        Self::Unwritten(Unwritten::Arguments),
        Self::Unwritten(Unwritten::Role),
        Self::Unwritten(Unwritten::Uncovered),
        Self::Unwritten(Unwritten::Guarded),
        Self::Unwritten(Unwritten::NoClock),
        Self::Resumed,
        Self::Held(HeldFor::Endpoint),
        Self::Held(HeldFor::Room),
        Self::NotHeld(NotHeld::Crowded),
        Self::NotHeld(NotHeld::Full),
        Self::NotHeld(NotHeld::Shed),
        Self::NotHeld(NotHeld::Expired),
        Self::HoldEnded(HoldEnd::Resumed, HeldFor::Endpoint),
        Self::HoldEnded(HoldEnd::Resumed, HeldFor::Room),
        Self::HoldEnded(HoldEnd::Refused, HeldFor::Endpoint),
        Self::HoldEnded(HoldEnd::Refused, HeldFor::Room),
        Self::HoldEnded(HoldEnd::Left, HeldFor::Endpoint),
        Self::HoldEnded(HoldEnd::Left, HeldFor::Room),
        Self::SteeringRemoved,
        Self::Rewritten,
        Self::Retried,
        Self::Failed,
        Self::Outcome(OutcomeClass::None),
        Self::Outcome(OutcomeClass::Served),
        Self::Outcome(OutcomeClass::Refused),
        Self::Outcome(OutcomeClass::Rejected),
        Self::Outcome(OutcomeClass::Full),
        Self::Outcome(OutcomeClass::Faulty),
        Self::Outcome(OutcomeClass::Unreachable),
        Self::Outcome(OutcomeClass::Silent),
        Self::Outcome(OutcomeClass::Empty),
        Self::Split,
        Self::StaysWhole(StaysWhole::Cost(Unsplit::WholeIsCheaper)),
        Self::StaysWhole(StaysWhole::Cost(Unsplit::NoPrefill)),
        Self::StaysWhole(StaysWhole::Cost(Unsplit::NoDecode)),
        Self::StaysWhole(StaysWhole::Body(Whole::Format)),
        Self::StaysWhole(StaysWhole::Body(Whole::Unreadable)),
        Self::StaysWhole(StaysWhole::Body(Whole::OneToken)),
        Self::StaysWhole(StaysWhole::Body(Whole::Choices)),
        Self::StaysWhole(StaysWhole::Body(Whole::Prompts)),
        Self::StaysWhole(StaysWhole::Body(Whole::PromptLogprobs)),
        Self::StaysWhole(StaysWhole::Body(Whole::Stored)),
        Self::StaysWhole(StaysWhole::Unread),
        Self::StaysWhole(StaysWhole::NotEditable),
        Self::StaysWhole(StaysWhole::NoCluster),
        Self::StaysWhole(StaysWhole::NoHandover),
        Self::LegFailed(LegFailure::Refused),
        Self::LegFailed(LegFailure::Rejected),
        Self::LegFailed(LegFailure::Full),
        Self::LegFailed(LegFailure::Faulty),
        Self::LegFailed(LegFailure::Unreachable),
        Self::LegFailed(LegFailure::Silent),
        Self::LegFailed(LegFailure::Handover(HandoverError::Unreadable)),
        Self::LegFailed(LegFailure::Handover(HandoverError::Absent)),
        Self::LegFailed(LegFailure::Handover(HandoverError::TooLarge)),
        Self::LegRetried,
        Self::LocalPrefill,
        Self::DecodeLegFailed,
        Self::DecodeLegRescued,
        Self::DecodeLegLost,
        Self::DecodeLegNotKept,
        Self::Aborted,
        Self::PromptTokens,
        Self::PredictedTokens,
        Self::CachedTokens,
        Self::LogConflict,
        Self::LogOverrun,
        Self::LogDropped,
        Self::CheckpointWritten,
        Self::CheckpointRead,
        Self::CheckpointCut,
        Self::Malformed,
        Self::UplinkOpened,
        Self::UplinkClosed,
        Self::UplinkDropped,
        Self::UplinkSnapshot,
    ];

    /// Whether pools have series of it.
    pub fn is_of_pools(self) -> bool {
        matches!(self, Self::Decision(_) | Self::Outcome(_))
    }

    /// Its name in the series of a pool. Envoy makes labels of the pool and the reason (`stats_tags` in envoy.yaml).
    pub fn name_in_pool(self, pool: &str) -> String {
        self.name().replacen('.', &format!(".pool.{pool}."), 1)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Decision(Reason::Warm) => "warmpath.decision.warm",
            Self::Decision(Reason::Spill) => "warmpath.decision.spill",
            Self::Decision(Reason::Cold) => "warmpath.decision.cold",
            Self::Decision(Reason::Load) => "warmpath.decision.load",
            Self::Decision(Reason::Stored) => "warmpath.decision.stored",
            Self::Fallback => "warmpath.decision.fallback",
            Self::LastResort => "warmpath.last_resort",
            Self::Rejected(NoEndpoint::UnknownModel) => "warmpath.rejected.model_not_found",
            Self::Rejected(NoEndpoint::NoneKnown) => "warmpath.rejected.no_endpoint_known",
            Self::RejectedUnread => "warmpath.rejected.model_unread",
            Self::RejectedSteering => "warmpath.rejected.transfer_fields",
            Self::Unread(reason) => reason.name(),
            Self::Written => "warmpath.written",
            Self::Unwritten(reason) => reason.name(),
            Self::Resumed => "warmpath.resumed",
            Self::NotHeld(reason) => reason.name(),
            Self::Held(HeldFor::Endpoint) => "warmpath.held.endpoint",
            Self::Held(HeldFor::Room) => "warmpath.held.room",
            Self::HoldEnded(end, held_for) => end.name(held_for),
            Self::SteeringRemoved => "warmpath.transfer_fields_removed",
            Self::Rewritten => "warmpath.rewritten",
            Self::Retried => "warmpath.retried",
            Self::Failed => "warmpath.failed",
            Self::Outcome(class) => outcome_name(class),
            Self::Split => "warmpath.split",
            Self::StaysWhole(reason) => reason.name(),
            Self::LegFailed(failure) => failure.name(),
            Self::LegRetried => "warmpath.prefill_leg.retried",
            Self::LocalPrefill => "warmpath.prefill_leg.replaced_by_local",
            Self::DecodeLegFailed => "warmpath.decode_leg.failed",
            Self::DecodeLegRescued => "warmpath.decode_leg.rescued",
            Self::DecodeLegLost => "warmpath.decode_leg.lost",
            Self::DecodeLegNotKept => "warmpath.decode_leg.not_kept",
            Self::Aborted => "warmpath.aborted",
            Self::PromptTokens => "warmpath.tokens.prompt",
            Self::PredictedTokens => "warmpath.tokens.predicted",
            Self::CachedTokens => "warmpath.tokens.cached",
            Self::LogConflict => "warmpath.log.conflict",
            Self::LogOverrun => "warmpath.log.overrun",
            Self::LogDropped => "warmpath.log.dropped",
            Self::CheckpointWritten => "warmpath.checkpoint.written",
            Self::CheckpointRead => "warmpath.checkpoint.read",
            Self::CheckpointCut => "warmpath.checkpoint.cut",
            Self::Malformed => "warmpath.malformed",
            Self::UplinkOpened => "warmpath.feed.opened",
            Self::UplinkClosed => "warmpath.feed.closed",
            Self::UplinkDropped => "warmpath.feed.dropped",
            Self::UplinkSnapshot => "warmpath.feed.snapshot",
        }
    }
}

fn outcome_name(class: OutcomeClass) -> &'static str {
    match class {
        OutcomeClass::None => "warmpath.outcome.none",
        OutcomeClass::Served => "warmpath.outcome.served",
        OutcomeClass::Refused => "warmpath.outcome.refused",
        OutcomeClass::Rejected => "warmpath.outcome.rejected",
        OutcomeClass::Full => "warmpath.outcome.full",
        OutcomeClass::Faulty => "warmpath.outcome.faulty",
        OutcomeClass::Unreachable => "warmpath.outcome.unreachable",
        OutcomeClass::Silent => "warmpath.outcome.silent",
        OutcomeClass::Empty => "warmpath.outcome.empty",
    }
}

// === impl NotHeld ===

impl NotHeld {
    /// Its stable name in responses.
    pub(super) fn label(self) -> &'static str {
        let name = self.name();
        name.rsplit_once('.').map_or(name, |(_, label)| label)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Crowded => "warmpath.rejected.no_room",
            Self::Full => "warmpath.rejected.hold_full",
            Self::Shed => "warmpath.rejected.hold_shed",
            Self::Expired => "warmpath.rejected.hold_expired",
        }
    }
}

// === impl HoldEnd ===

impl HoldEnd {
    fn name(self, held_for: HeldFor) -> &'static str {
        match (self, held_for) {
            (Self::Resumed, HeldFor::Endpoint) => "warmpath.hold_resumed.endpoint",
            (Self::Resumed, HeldFor::Room) => "warmpath.hold_resumed.room",
            (Self::Refused, HeldFor::Endpoint) => "warmpath.hold_refused.endpoint",
            (Self::Refused, HeldFor::Room) => "warmpath.hold_refused.room",
            (Self::Left, HeldFor::Endpoint) => "warmpath.hold_left.endpoint",
            (Self::Left, HeldFor::Room) => "warmpath.hold_left.room",
        }
    }
}

// === impl Gauge ===

impl Gauge {
    /// Each of them.
    pub const ALL: [Self; 7] = [
        Self::UplinkConnected,
        Self::Endpoints,
        Self::Cells,
        Self::Held(HeldFor::Endpoint),
        Self::Held(HeldFor::Room),
        Self::HeldBytes(HeldFor::Endpoint),
        Self::HeldBytes(HeldFor::Room),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::UplinkConnected => "warmpath.feed.connected",
            Self::Endpoints => "warmpath.view.endpoints",
            Self::Cells => "warmpath.view.cells",
            Self::Held(HeldFor::Endpoint) => "warmpath.holding.endpoint",
            Self::Held(HeldFor::Room) => "warmpath.holding.room",
            Self::HeldBytes(HeldFor::Endpoint) => "warmpath.holding_bytes.endpoint",
            Self::HeldBytes(HeldFor::Room) => "warmpath.holding_bytes.room",
        }
    }
}

// === impl Histogram ===

impl Histogram {
    /// Each of them.
    pub const ALL: [Self; 7] = [
        Self::TtftMs,
        Self::PredictionErrorPercent,
        Self::PrefillLegMs,
        Self::TransferMs,
        Self::TransferPredictedMs,
        Self::HeldMs(HeldFor::Endpoint),
        Self::HeldMs(HeldFor::Room),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::TtftMs => "warmpath.ttft_ms",
            Self::PredictionErrorPercent => "warmpath.prediction_error_percent",
            Self::PrefillLegMs => "warmpath.prefill_leg_ms",
            Self::TransferMs => "warmpath.transfer_ms",
            Self::TransferPredictedMs => "warmpath.transfer_predicted_ms",
            Self::HeldMs(HeldFor::Endpoint) => "warmpath.held_ms.endpoint",
            Self::HeldMs(HeldFor::Room) => "warmpath.held_ms.room",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_metric_is_in_its_list() {
        let source = [include_str!("metrics.rs"), include_str!("reasons.rs")].concat();
        let named: BTreeSet<_> =
            source.lines().filter_map(|line| line.split_once("=> \"")?.1.split('"').next()).collect();
        let counters = Counter::ALL.iter().map(|counter| counter.name());
        let gauges = Gauge::ALL.iter().map(|gauge| gauge.name());
        let histograms = Histogram::ALL.iter().map(|histogram| histogram.name());
        let listed: BTreeSet<_> = counters.chain(gauges).chain(histograms).collect();
        assert_eq!(listed, named);
    }
}
