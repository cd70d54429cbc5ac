//! The marginal latency of a choice: what it costs this request and those that are there, with what it evicts.
//!
//! ```text
//!   queue + own prefill + own answer's steps
//! + own prefill for each request that decodes there
//! + slower steps for them, by our context
//! + what is evicted, by the chance that it is asked for again (Preble)
//! ```

use crate::fleet::Node;
use crate::workload::Job;

/// Tokens assumed of an answer: what rules do not know.
const OUTPUT_TOKENS: f64 = 256.0;
/// Chance that an evicted token is asked for again: the share of the Mooncake conversation trace that repeats.
const REUSE_SHARE: f64 = 0.3;

/// Seconds for one engine that holds `hit` tokens.
pub(super) fn seconds(node: &Node, job: &Job, hit: usize) -> f64 {
    let speed = node.speed;
    let (decodes, context) = (node.decodes() as f64, node.load.context_tokens as f64);
    let new = (job.prompt_tokens - hit) as f64;
    let prefill_s = speed.prefill_s(job.prompt_tokens, hit);
    let queue_s = node.load.prefill_tokens as f64 * speed.prefill_s_per_token;
    let answer_s = OUTPUT_TOKENS * (speed.step_s + speed.context_s_per_token * context);
    let slower_s = OUTPUT_TOKENS * speed.context_s_per_token * job.prompt_tokens as f64 * decodes;
    queue_s
        + prefill_s
        + answer_s
        + prefill_s * decodes
        + slower_s
        + evicted(node, new) * speed.prefill_s_per_token * REUSE_SHARE
}

/// Cached tokens that have to go for `new` ones.
fn evicted(node: &Node, new: f64) -> f64 {
    let stats = node.stats();
    let block_tokens = node.engine.params().block_tokens;
    let empty =
        stats.blocks_total.saturating_sub(stats.blocks_cached.max(stats.blocks_in_use)) * block_tokens;
    (new - empty as f64).max(0.0)
}
