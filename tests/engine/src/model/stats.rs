//! Counters and gauges of one engine, with the meaning of vLLM's metrics of the same name.

use super::tier::PerTier;

/// A copy of the engine's numbers. Counters only grow; gauges are of the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// Gauge: requests that steps work for.
    pub running: usize,
    /// Gauge: requests that hold blocks and wait for their content, or for a place in the batch after it came.
    pub loading: usize,
    /// Gauge: finished prefills whose blocks wait for their fetch.
    pub held: usize,
    /// Gauge: requests in the queue, preempted ones included.
    pub waiting: usize,
    /// Gauge: prompt tokens of the requests in the queue.
    pub waiting_tokens: usize,
    /// Gauge: blocks that requests use.
    pub blocks_in_use: usize,
    /// Gauge: blocks that can be found by a new request.
    pub blocks_cached: usize,
    /// All blocks.
    pub blocks_total: usize,
    /// Gauge: blocks that each tier holds.
    pub blocks_below: PerTier<usize>,
    /// Prompt tokens looked up in the prefix cache, at the first admission of each request.
    pub prefix_cache_queries: u64,
    /// Those that the cache held on the GPU.
    pub prefix_cache_hits: u64,
    /// Tokens loaded from each tier.
    pub tier_tokens: PerTier<u64>,
    /// Requests that loaded from tiers.
    pub loads: u64,
    /// Tokens transferred from engines that prefilled them.
    pub transfer_tokens: u64,
    /// Requests that waited for such a transfer.
    pub transfers: u64,
    /// Prefills whose blocks were not fetched in time.
    pub holds_expired: u64,
    /// Times that an adapter was loaded.
    pub adapter_loads: u64,
    /// Prompt tokens of requests that reached their first token, cached ones included.
    pub prompt_tokens: u64,
    /// Tokens generated.
    pub generation_tokens: u64,
    /// Tokens computed in prefill, recomputation after preemption included.
    pub prefill_tokens_computed: u64,
    /// Times that a request lost its blocks.
    pub preemptions: u64,
    /// Requests that generated all their tokens.
    pub finished: u64,
    /// Requests that the driver took back.
    pub aborted: u64,
    /// Steps begun.
    pub steps: u64,
    /// Seconds spent in steps.
    pub busy_s: f64,
}

// === impl Stats ===

impl Stats {
    /// The share of blocks that requests use, `0.0..=1.0`: vLLM's `kv_cache_usage_perc`.
    pub fn kv_usage(&self) -> f64 {
        self.blocks_in_use as f64 / self.blocks_total.max(1) as f64
    }
}
