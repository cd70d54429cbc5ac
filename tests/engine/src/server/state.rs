//! An engine's counters for tests, without parsing metrics.

use super::legs::Legs;
use super::sleep::Slept;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The numbers of `/sim/state`. Counters grow for the server's life, through every fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The engine's name.
    pub name: String,
    /// Requests by path, whatever became of them; unknown paths count as `other`, `/sim/*` does not count.
    pub requests: BTreeMap<String, u64>,
    /// Prompt tokens of admitted requests.
    pub prompt_tokens: u64,
    /// Those that the prefix cache held.
    pub cached_tokens: u64,
    /// Prompt tokens computed, those computed again after a preemption included.
    pub prefill_tokens_computed: u64,
    /// Tokens generated.
    pub generation_tokens: u64,
    /// Seconds of the model's time spent in steps.
    pub busy_s: f64,
    /// Requests that hold cache blocks now.
    pub running: usize,
    /// Requests in the queue now.
    pub waiting: usize,
    /// Requests served in full.
    pub finished: u64,
    /// Requests that lost their client.
    pub aborted: u64,
    /// Requests refused because the queue was at its limit.
    pub rejected: u64,
    /// Requests that failed because of an injected fault.
    pub faulted: u64,
    /// Times that a request lost its blocks and started over.
    pub preemptions: u64,
    /// Blocks that can be found by a new request now.
    pub blocks_cached: usize,
    /// Blocks that requests use now.
    pub blocks_in_use: usize,
    /// All blocks.
    pub blocks_total: usize,
    /// What it did in requests that two engines serve together.
    pub legs: Legs,
    /// Why the last prompt that was to come from another engine did not.
    pub fetch_error: Option<String>,
    /// What came of its sleep.
    #[serde(default)]
    pub slept: Slept,
}
