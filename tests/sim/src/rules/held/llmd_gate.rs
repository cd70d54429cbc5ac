//! llm-d's flow control with its utilization detector: requests wait while the pool is saturated, and then go where its default
//! scorers say, endpoints that are saturated left out.
//!
//! An endpoint's saturation is the larger of its queue over `queueDepthThreshold` and its KV use over `kvCacheUtilThreshold`; the
//! pool's is the mean, and at 1 it is saturated (llm-d-router 0.10, `pkg/epp/flowcontrol`, its defaults). Its limit of 60 s in the
//! queue is left out: what it refuses then would come again.

use super::super::affinity;
use super::Valve;
use crate::fleet::{Among, Node};
use crate::workload::Job;

/// `queueDepthThreshold`, in requests.
const QUEUE_DEPTH: f64 = 5.0;
/// `kvCacheUtilThreshold`.
const KV_USE: f64 = 0.8;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct LlmdGate;

// === impl LlmdGate ===

impl Valve for LlmdGate {
    fn open(&mut self, _job: &Job, among: Among<'_>) -> Vec<bool> {
        let saturations: Vec<f64> = among.nodes().iter().map(saturation).collect();
        let mean = saturations.iter().sum::<f64>() / saturations.len().max(1) as f64;
        saturations.iter().map(|saturation| mean < 1.0 && *saturation < 1.0).collect()
    }

    /// The affinity filter, then the fewest tokens to prefill, with this request's.
    fn choose(&mut self, turn: usize, job: &Job, open: &[bool], among: Among<'_>) -> usize {
        let hits = among.hits(job);
        let passes = affinity::pass(job, &hits, among);
        among.least(turn, |at, node| {
            (!open[at], !passes[at], node.load.prefill_tokens + job.prompt_tokens - hits[at])
        })
    }
}

fn saturation(node: &Node) -> f64 {
    let stats = node.stats();
    (stats.waiting as f64 / QUEUE_DEPTH).max(stats.kv_usage() / KV_USE)
}
