//! The events that the engine emits to its driver.

use super::{sequence::RequestId, tier::Tier};

/// Something that happened to one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// The moment, in seconds on the driver's clock.
    pub at_s: f64,
    /// The request.
    pub id: RequestId,
    /// The kind.
    pub kind: EventKind,
}

/// The kinds of [`Event`], in the order in which a request meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The request left the queue: its blocks are reserved.
    Admitted {
        /// Tokens that the cache already held. After a preemption this counts generated tokens too.
        cached_tokens: usize,
    },
    /// Right after `Admitted`: tokens come from a tier into the reserved blocks; once for each tier.
    Loading {
        /// The tier.
        tier: Tier,
        /// The number of tokens.
        tokens: usize,
    },
    /// Right after `Admitted`: tokens come from the engine that computed them, see [`super::Leg::Decode`].
    Transferring {
        /// The number of tokens.
        tokens: usize,
    },
    /// All that was loading or transferring has arrived; the request joins the next step.
    Loaded,
    /// The prompt is computed and the first token generated.
    FirstToken,
    /// Another token is generated. Emitted only if [`super::Params::emits_tokens`].
    Token,
    /// Blocks ran out: the request lost its blocks and waits at the head of the queue.
    Preempted,
    /// The last token was the last; comes after the `FirstToken` or `Token` of the same moment.
    Finished(FinishReason),
    /// The blocks of a finished [`super::Leg::Prefill`] were not fetched in time and are free.
    HoldExpired,
}

/// Why a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// All `output_tokens` were generated.
    Length,
    /// The driver called [`super::Engine::abort`]; no event reports it.
    Abort,
}
