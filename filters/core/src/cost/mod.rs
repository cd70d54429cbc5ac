//! The cost of a choice, in seconds: one term a file, one sum.
//!
//! ```text
//!   queue    work promised to the endpoint and not yet prefilled
//! + prefill  this prompt's uncached part
//! + stall    the same time again for each request that decodes there and is held up by the prefill
//! + decode   slower steps: for us, from the contexts there; for those there, from our context
//! + memory   tokens that do not fit and will be computed twice
//! + evict    cached prefixes that the new ones push out, by how often prefixes are used again
//! + copy     what another endpoint holds and this one would compute again
//! ```
//!
//! The sum is the change in everybody's waiting time, so affinity, spill-over and balance need no weights:
//! a long hit wins until the queue in front of it costs more than computing the prefix again elsewhere.
//! Everything is proportional to the endpoint's learned prefill speed, whose ratios to the other constants
//! vary little between models and GPUs (step-time tables of NVIDIA AIConfigurator for H100).

mod copy;
mod decode;
mod evict;
mod memory;
mod prefill;
mod queue;

pub use copy::Copies;
pub use prefill::work_tokens;

use crate::view::Endpoint;

/// What a request would mean for one endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of those that the endpoint holds.
    pub cached_tokens: u64,
    /// Tokens that the answer will probably have.
    pub output_tokens: u64,
    /// Cells that the endpoint can still take before it evicts, in tokens.
    pub free_tokens: u64,
    /// Share of prompts' tokens that are found again, 0 to 1.
    pub reuse_share: f64,
    /// Tokens that others hold and this endpoint does not, each divided by the number of its holders.
    pub repeated_tokens: u64,
}

/// The terms of the cost, each in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Terms {
    /// See [`crate::cost`].
    pub queue_s: f64,
    /// See [`crate::cost`].
    pub prefill_s: f64,
    /// See [`crate::cost`].
    pub stall_s: f64,
    /// See [`crate::cost`].
    pub decode_s: f64,
    /// See [`crate::cost`].
    pub memory_s: f64,
    /// See [`crate::cost`].
    pub evict_s: f64,
    /// See [`crate::cost`].
    pub copy_s: f64,
}

/// The cost of sending `work` to `endpoint`.
pub fn of(endpoint: &Endpoint, work: &Work) -> Terms {
    let prefill_s = prefill::seconds(endpoint, work);
    Terms {
        queue_s: queue::seconds(endpoint),
        prefill_s,
        stall_s: decode::stall_seconds(endpoint, prefill_s),
        decode_s: decode::seconds(endpoint, work),
        memory_s: memory::seconds(endpoint, work),
        evict_s: evict::seconds(endpoint, work),
        copy_s: copy::seconds(endpoint, work),
    }
}

// === impl Terms ===

impl Terms {
    /// The cost.
    pub fn total_s(&self) -> f64 {
        self.queue_s
            + self.prefill_s
            + self.stall_s
            + self.decode_s
            + self.memory_s
            + self.evict_s
            + self.copy_s
    }

    /// Predicted time to the first token: what the request itself waits for.
    pub fn ttft_s(&self) -> f64 {
        self.queue_s + self.prefill_s
    }
}
