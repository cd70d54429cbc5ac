//! Counters and gauges of one engine, with the meaning of vLLM's metrics of the same name.

/// A copy of the engine's numbers. Counters only grow; gauges are of the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stats {
    /// Gauge: requests that hold blocks.
    pub running: usize,
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
    /// Prompt tokens looked up in the prefix cache, at the first admission of each request.
    pub prefix_cache_queries: u64,
    /// Those that the cache held.
    pub prefix_cache_hits: u64,
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

impl Stats {
    /// The share of blocks that requests use, `0.0..=1.0`: vLLM's `kv_cache_usage_perc`.
    pub fn kv_usage(&self) -> f64 {
        self.blocks_in_use as f64 / self.blocks_total.max(1) as f64
    }
}
