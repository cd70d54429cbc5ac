//! llm-d's blend of scores: prefix 3, queue 2, KV use 2, each 0 to 1, highest sum wins.
//!
//! The prefix score is the share of the prompt that is held; the queue score is 1 for the shortest queue and 0
//! for the longest (its scorer normalises over the candidates); the KV score is what is not in use.

use super::Rule;
use crate::fleet::Fleet;
use crate::workload::Job;

const PREFIX_WEIGHT: f64 = 3.0;
const QUEUE_WEIGHT: f64 = 2.0;
const KV_WEIGHT: f64 = 2.0;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct LlmdBlend {
    next: usize,
}

// === impl LlmdBlend ===

impl Rule for LlmdBlend {
    fn choose(&mut self, _now_s: f64, _id: u64, job: &Job, fleet: &Fleet) -> usize {
        self.next += 1;
        let hits = fleet.hits(job);
        let stats: Vec<_> = fleet.nodes().iter().map(crate::fleet::Node::stats).collect();
        let queues = || stats.iter().map(|stats| stats.waiting);
        let (shortest, longest) = (queues().min().unwrap_or(0), queues().max().unwrap_or(0));
        fleet.least(self.next, |at, _| {
            let queue = if longest == shortest {
                1.0
            } else {
                (longest - stats[at].waiting) as f64 / (longest - shortest) as f64
            };
            let prefix = hits[at] as f64 / job.prompt_tokens as f64;
            -(PREFIX_WEIGHT * prefix + QUEUE_WEIGHT * queue + KV_WEIGHT * (1.0 - stats[at].kv_usage()))
        })
    }
}
