//! llm-d's blend of scores: prefix 3, queue 2, KV use 2, each 0 to 1, highest sum wins.
//!
//! The prefix score is the share of the prompt that is held; the queue score is 1 for the shortest queue and 0
//! for the longest (its scorer normalises over the candidates); the KV score is what is not in use.

use super::Formula;
use crate::fleet::Among;
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

impl Formula for LlmdBlend {
    fn choose(&mut self, job: &Job, among: Among<'_>) -> usize {
        self.next += 1;
        let hits = among.hits(job);
        let stats: Vec<_> = among.nodes().iter().map(crate::fleet::Node::stats).collect();
        let queues = || stats.iter().map(|stats| stats.waiting);
        let (shortest, longest) = (queues().min().unwrap_or(0), queues().max().unwrap_or(0));
        among.least(self.next, |at, _| {
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
