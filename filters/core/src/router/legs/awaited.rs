//! The transfer that a decode leg waits for, and what its first token shows of it.

use super::super::io::Output;
use super::super::ledger::FirstTokenTime;
use super::super::metrics::Histogram;
use crate::ids::EndpointId;
use crate::num::count;
use crate::time::Timestamp;
use crate::wire::{Kind, TransferSeen};

/// The transfer that a decode leg waits for.
#[derive(Clone, Copy, Debug)]
pub(in crate::router) struct Awaited {
    /// When the request was split.
    pub(super) since: Timestamp,
    pub(super) from: EndpointId,
    pub(super) to: EndpointId,
    pub(super) tokens: u64,
    pub(super) predicted_s: f64,
    /// Whether nothing else delays its first token, so that this shows how long the transfer takes.
    pub(super) teaches: bool,
}

// === impl Awaited ===

impl Awaited {
    /// Microseconds from the split to now: what the client has waited for its first token.
    pub(in crate::router) fn ttft_us(&self, now: Timestamp) -> u64 {
        now.us_since(self.since)
    }

    /// What the first token of the decode leg shows. `served_by`: the endpoint that it comes from.
    pub(in crate::router) fn seen(
        &self,
        served_by: EndpointId,
        time: FirstTokenTime,
        out: &mut Vec<Output>,
    ) -> Option<Kind> {
        if served_by != self.to {
            return None;
        }
        out.push(Output::Record(Histogram::TransferMs, time.us / 1000));
        out.push(Output::Record(Histogram::TransferPredictedMs, count(self.predicted_s * 1e3)));
        self.teaches.then_some(Kind::TransferSeen(TransferSeen {
            prefill: self.from.0,
            decode: self.to.0,
            tokens: self.tokens,
            us: time.us,
        }))
    }
}
