//! The pure engine: continuous batching over a paged KV cache, where time is an argument.
//!
//! ```text
//!  submit ─► waiting ─► schedule (decode first, chunked prefill, cache hits) ─► step ─► events
//!                ▲            │  │ blocks run out                                 │
//!                └─ preempt ◄─┼──┘                         cache ◄─ release ◄─────┘
//!                             └─► arrive (from a tier, from a prefill engine) ─► next step
//! ```
//!
//! It follows vLLM's scheduler in what a router can see (queueing, hits, capacity, preemption, step times)
//! and leaves out what it cannot see (attention back ends, CUDA graphs, speculative decoding).

mod adapters;
mod arrive;
mod cache;
mod chain;
mod changes;
mod engine;
mod event;
mod free_list;
mod load;
mod params;
mod schedule;
mod sequence;
mod stats;
mod steptime;
mod tier;

pub use adapters::BASE as BASE_ADAPTER;
pub use cache::{Acquired, BlockId, PagedCache};
pub use chain::{
    BlockHash, Root, TOKEN_BYTES, chain_of_bytes, chain_of_ids, chain_of_tokens, tokens_of_bytes,
};
pub use changes::CacheChange;
pub use engine::{Engine, SubmitError};
pub use event::{Event, EventKind, FinishReason};
pub use load::LoadTime;
pub use params::{Params, Preset, UnknownPreset};
pub use sequence::{Leg, Request, RequestId};
pub use stats::Stats;
pub use steptime::{StepLoad, StepTime};
pub use tier::{PerTier, Tier, TierParams};
