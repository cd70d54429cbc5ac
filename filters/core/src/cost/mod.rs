//! The cost of a choice, in seconds: ten terms and their weighted sum.
//!
//! ```text
//!   queue       work in flight to the endpoint and not yet prefilled
//! + prefill     this prompt's uncached part
//! + load        the KV's way from below the GPU, where a tier there has it
//! + adapter     its LoRA adapter's way onto the GPU, and the wait for a place in the batch
//! + transfer    the KV's way from the endpoint that computes it, where the request is split
//! + contention  the prefill again where another proxy may send a similar one at this moment
//! + later       the longer waiting of requests that arrive while it is busy
//! + stall       the prefill again for each request there, which it delays
//! + decode      the steps of the response, and the slowdown of other responses by our context
//! + evict       evicted prefixes, weighted by the probability that they are requested again
//! ```
//!
//! The sum is the change in the waiting time of all requests, so affinity, spill-over and balance need no weights
//! against each other: a long hit wins until the queue in front of it costs more than computing the prefix again
//! elsewhere. It states one preference: the first six count twice, as a client sees nothing before the first token
//! ([`Weights`]). Everything is proportional to the endpoint's learned prefill speed, whose ratios to the other
//! constants vary little between models and GPUs (step-time tables of NVIDIA AIConfigurator for H100), and to
//! values learned from the pool's responses: their length, their cache hits, the load.

mod adapter;
mod averages;
mod formulas;
mod load;
mod terms;

pub use averages::Averages;
pub use load::Loaded;
pub use terms::{Term, Terms, Weights};

use crate::ids::AdapterId;
use crate::time::Timestamp;
use crate::view::Endpoint;

/// The work that a request would bring to one endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of those that the endpoint holds.
    pub cached_tokens: u64,
    /// Tokens of those that it has to load.
    pub loaded: Loaded,
    /// The expected tokens of the response.
    pub output_tokens: u64,
    /// The LoRA adapter that it needs.
    pub adapter: AdapterId,
    /// Other adapters that requests need which were sent there and have no first token.
    pub coming: usize,
    /// Work that the endpoint would have to do again for what it evicts, in tokens' worth, by the chance that it is
    /// asked for.
    pub evicted_tokens: f64,
    /// Whether the endpoint takes either leg of a split request: then the choice decides how much of its time goes to prefills.
    pub is_either: bool,
    /// Share of the prompt that no endpoint holds, where another proxy may be sending now ([`crate::view::Turn`]); 0 in our
    /// turn.
    pub contention_share: f64,
}

/// One endpoint at the moment of the decision, as the terms see it.
#[derive(Clone, Copy, Debug)]
pub struct CostInput<'a> {
    endpoint: &'a Endpoint,
    averages: &'a Averages,
    now: Timestamp,
    /// Learned speed.
    prefill_s_per_token: f64,
    /// Prefill work in front of a new request, in tokens' worth.
    backlog_tokens: f64,
}

// === impl CostInput ===

impl<'a> CostInput<'a> {
    /// Of an endpoint in a pool with these `averages`.
    pub fn new(endpoint: &'a Endpoint, averages: &'a Averages, now: Timestamp) -> Self {
        let prefill_s_per_token = averages.prefill_s_per_token(endpoint);
        let backlog_tokens = formulas::backlog_tokens(endpoint, prefill_s_per_token, now);
        Self { endpoint, averages, now, prefill_s_per_token, backlog_tokens }
    }

    /// The endpoint's learned speed, in seconds.
    pub fn prefill_s_per_token(&self) -> f64 {
        self.prefill_s_per_token
    }

    /// Whether the batch has requests of an adapter, as far as that is known, where responses have so many tokens.
    pub fn is_in_batch(&self, adapter: AdapterId, output_tokens: u64) -> bool {
        adapter::is_in_batch(self, adapter, formulas::response_s(self, output_tokens))
    }

    /// The terms of the cost of sending `work` there.
    pub fn terms(&self, work: &Work) -> Terms {
        formulas::terms(self, work)
    }
}
