//! One request inside the engine.

use super::{cache::BlockId, chain::BlockHash};

/// The driver's name for a request; unique among the requests in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// What is asked of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The driver's name for it.
    pub id: RequestId,
    /// Length of the prompt in tokens, at least 1.
    pub prompt_tokens: usize,
    /// Tokens to generate, at least 1.
    pub output_tokens: usize,
    /// Hashes of the full blocks of prompt and answer, see [`super::chain_of_bytes`]. Blocks beyond its end
    /// are private to the request: they take room and are never found again.
    pub chain: Vec<BlockHash>,
}

/// A request with its progress.
#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) request: Request,
    pub(super) blocks: Vec<BlockId>,
    /// Tokens whose keys and values are in `blocks`.
    pub(super) computed: usize,
    /// Tokens of the answer so far; they survive a preemption.
    pub(super) emitted: usize,
    /// Tokens that the running step computes.
    pub(super) scheduled: usize,
    /// Full blocks that were already given their name in the cache.
    pub(super) published: usize,
    /// How often it lost its blocks.
    pub(super) preemptions: usize,
}

impl Sequence {
    pub(super) fn new(request: Request) -> Self {
        Self {
            request,
            blocks: Vec::new(),
            computed: 0,
            emitted: 0,
            scheduled: 0,
            published: 0,
            preemptions: 0,
        }
    }

    /// Tokens known so far: the prompt and the answer up to now. The last one is never computed yet, because
    /// its computation is what makes the next one.
    pub(super) fn known(&self) -> usize {
        self.request.prompt_tokens + self.emitted
    }

    /// Tokens still to compute before the next token of the answer.
    pub(super) fn pending(&self) -> usize {
        self.known() - self.computed
    }

    /// Whether the next step makes one token from the one before.
    pub(super) fn is_decode(&self) -> bool {
        self.emitted > 0 && self.pending() == 1
    }
}
