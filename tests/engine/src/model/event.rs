//! What the engine tells its driver.

use super::sequence::RequestId;

/// Something that happened to one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Event {
    /// When, in seconds on the driver's clock.
    pub at_s: f64,
    /// To which request.
    pub id: RequestId,
    /// What.
    pub kind: EventKind,
}

/// The kinds of [`Event`], in the order in which a request meets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// The request left the queue: its blocks are reserved.
    Admitted {
        /// Tokens that the cache already held. After a preemption this counts generated tokens too.
        cached_tokens: usize,
    },
    /// The prompt is computed and the first token of the answer is there.
    FirstToken,
    /// Another token of the answer is there.
    Token,
    /// Blocks ran out: the request lost its blocks and waits at the head of the queue.
    Preempted,
    /// The last token was the last; comes after its `FirstToken` or `Token`.
    Finished(FinishReason),
}

/// Why a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// All `output_tokens` were generated.
    Length,
    /// The driver called [`super::Engine::abort`]; no event tells it.
    Abort,
}
