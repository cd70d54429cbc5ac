//! The pure engine: continuous batching over a paged KV cache, where time is an argument.
//!
//! ```text
//!  submit ─► waiting ─► schedule (decode first, chunked prefill, cache hits) ─► step ─► events
//!                ▲            │ blocks run out                                    │
//!                └─ preempt ◄─┘                            cache ◄─ release ◄─────┘
//! ```
//!
//! It follows vLLM's scheduler in what a router can see (queueing, hits, capacity, preemption, step times)
//! and leaves out what it cannot see (attention back ends, CUDA graphs, speculative decoding).

mod cache;
mod chain;
mod engine;
mod event;
mod free_list;
mod params;
mod schedule;
mod sequence;
mod stats;
mod steptime;

pub use cache::{Acquired, BlockId, PagedCache};
pub use chain::{
    BlockHash, Root, TOKEN_BYTES, chain_of_bytes, chain_of_ids, chain_of_tokens, tokens_of_bytes,
};
pub use engine::{Engine, SubmitError};
pub use event::{Event, EventKind, FinishReason};
pub use params::{Params, Preset, UnknownPreset};
pub use sequence::{Request, RequestId};
pub use stats::Stats;
pub use steptime::{StepLoad, StepTime};
