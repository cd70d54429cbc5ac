//! SGLang's `cache_aware`: the least loaded while the fleet is out of balance, else the best match if it is good
//! enough, else the least loaded. Ties go to the first engine, as in its source (sglang-router 0.3.2 defaults).

use super::Formula;
use crate::fleet::Among;
use crate::workload::Job;

/// Difference of loads beyond which all affinity stops (`balance_abs_threshold`), in requests.
const BALANCE_ABS: usize = 64;
/// Quotient of loads beyond which it does (`balance_rel_threshold`); both must be exceeded.
const BALANCE_REL: f64 = 1.5;
/// Share of the prompt that makes a match (`cache_threshold`).
const CACHE_THRESHOLD: f64 = 0.3;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sglang;

// === impl Sglang ===

impl Formula for Sglang {
    fn choose(&mut self, job: &Job, among: Among<'_>) -> usize {
        let loads = || among.nodes().iter().map(|node| node.load.requests);
        let (least, most) = (loads().min().unwrap_or(0), loads().max().unwrap_or(0));
        let is_unbalanced = most - least > BALANCE_ABS && most as f64 > BALANCE_REL * least as f64;
        let least_loaded = || among.least(0, |_, node| node.load.requests);
        if is_unbalanced {
            return least_loaded();
        }
        let hits = among.hits(job);
        let best = among.least(0, |at, _| std::cmp::Reverse(hits[at]));
        let is_match = hits[best] as f64 > CACHE_THRESHOLD * job.prompt_tokens as f64;
        if is_match { best } else { least_loaded() }
    }
}
