//! One request inside the engine.

use super::{adapters::BASE, cache::BlockId, chain::BlockHash};

/// The driver's name for a request; unique among the requests in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A request to the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The driver's name for it.
    pub id: RequestId,
    /// Length of the prompt in tokens, at least 1.
    pub prompt_tokens: usize,
    /// Tokens to generate, at least 1.
    pub output_tokens: usize,
    /// Hashes of the full blocks of prompt and output, see [`super::chain_of_bytes`]. Blocks beyond its end
    /// are private to the request: they take room and are never found again.
    pub chain: Vec<BlockHash>,
    /// The LoRA adapter by a number of the driver's; 0 is the base model. The chain keeps caches of adapters
    /// apart, see [`super::Root::new`]; this number is about room in the batch and loading.
    pub adapter: u32,
    /// Which part of the work is done here.
    pub leg: Leg,
}

/// The part of a request that one engine does when prefill and decode are apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leg {
    /// All of it.
    #[default]
    Whole,
    /// The prompt and `output_tokens` tokens (usually one); then its blocks are held until
    /// [`super::Engine::release_held`], or until [`super::Params::held_s_max`] is over.
    Prefill,
    /// The output, all `output_tokens` of it; a prefill engine has computed the prompt's first tokens, and
    /// what this engine's cache lacks of them is transferred. With the whole prompt transferred the first
    /// token is a decode like all others. After a preemption the prompt is computed here.
    Decode {
        /// Tokens that the prefill engine has, usually the whole prompt; more count as the prompt.
        remote_tokens: usize,
    },
}

// === impl Request ===

impl Request {
    /// A request to the base model, with nothing done elsewhere.
    pub fn new(id: RequestId, prompt_tokens: usize, output_tokens: usize, chain: Vec<BlockHash>) -> Self {
        Self { id, prompt_tokens, output_tokens, chain, adapter: BASE, leg: Leg::Whole }
    }
}

/// A request with its progress.
#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) request: Request,
    pub(super) blocks: Vec<BlockId>,
    /// Tokens whose keys and values are in `blocks`.
    pub(super) computed: usize,
    /// Tokens generated so far; they survive a preemption.
    pub(super) emitted: usize,
    /// Tokens that the running step computes.
    pub(super) scheduled: usize,
    /// Full blocks that were already given their name in the cache.
    pub(super) published: usize,
    /// How often it lost its blocks.
    pub(super) preemptions: usize,
    /// Tokens that a prefill engine has for it, as long as they can be fetched.
    pub(super) remote_tokens: usize,
    /// Whether all its prompt came from there.
    pub(super) transferred: bool,
    /// Blocks that it found in the cache when it last did not fit.
    pub(super) hits_seen: Option<usize>,
}

// === impl Sequence ===

impl Sequence {
    pub(super) fn new(request: Request) -> Self {
        let remote_tokens = match request.leg {
            Leg::Decode { remote_tokens } => remote_tokens.min(request.prompt_tokens),
            Leg::Whole | Leg::Prefill => 0,
        };
        Self {
            request,
            blocks: Vec::new(),
            computed: 0,
            emitted: 0,
            scheduled: 0,
            published: 0,
            preemptions: 0,
            remote_tokens,
            transferred: false,
            hits_seen: None,
        }
    }

    /// Tokens known so far: the prompt and the output up to now. The last one is never computed yet, because
    /// its computation is what makes the next one.
    pub(super) fn known(&self) -> usize {
        self.request.prompt_tokens + self.emitted
    }

    /// Tokens still to compute before the next output token.
    pub(super) fn pending(&self) -> usize {
        self.known() - self.computed
    }

    /// Whether the next step makes one token from the one before.
    pub(super) fn is_decode(&self) -> bool {
        (self.emitted > 0 || self.transferred) && self.pending() == 1
    }
}
