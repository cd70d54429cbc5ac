//! What an engine did in requests that two engines serve.

use serde::{Deserialize, Serialize};

/// Counts of legs, in `/sim/state`. They grow for the server's life; `prompts_held` and `prompts_awaited` are of the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Legs {
    /// Inference requests that were no leg of anything.
    pub whole: u64,
    /// Prefill legs: requests whose prompt was to be kept for another engine.
    pub prefills: u64,
    /// Decode legs: requests whose prompt was to be fetched from another engine.
    pub decodes: u64,
    /// Prompts held now for engines that have not fetched them yet.
    pub prompts_held: usize,
    /// Prompts that other engines wait for now.
    pub prompts_awaited: usize,
    /// Prompts that another engine fetched from here.
    pub prompts_handed_over: u64,
    /// Prompts that another engine gave up, so that their blocks are free.
    pub prompts_given_up: u64,
    /// Prompts that were held until the lease was over.
    pub prompts_expired: u64,
    /// Fetches from here of what was not kept any more: fetched before, given up, or held until the lease was over. vLLM with
    /// NIXL lets them pass, and their output is wrong.
    pub fetches_unexpected: u64,
    /// Prompts that came from another engine.
    pub prompts_fetched: u64,
    /// Those of them that the other engine had let go before, or whose parameters were changed: their output is wrong.
    pub prompts_stale: u64,
    /// Prompts that could not be fetched.
    pub fetches_failed: u64,
    /// Those of them that were computed here instead.
    pub prompts_recomputed: u64,
    /// Legs refused because their parameters contradict each other or the protocol.
    pub refused: u64,
    /// Requests that ended the engine's process.
    pub killing: u64,
}
