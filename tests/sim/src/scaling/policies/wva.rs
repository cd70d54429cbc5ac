//! The saturation of llm-d's Workload Variant Autoscaler: one more where spare KV or queue run out, one less where the rest could bear it.
//!
//! An engine is saturated from a KV use (0.8 by default) or a queue of 5 on; every 30 s, one more if those that are not have less than a
//! tenth of KV or 3 of queue to spare in the mean, one less if the load on one engine fewer stays below both.

use super::{Policy, View, Wanted};
use crate::scaling::setting::Model;

const LOOK_S: f64 = 30.0;
const QUEUE: f64 = 5.0;
const SPARE_KV: f64 = 0.1;
const SPARE_QUEUE: f64 = 3.0;

/// See the module.
pub(super) struct Wva {
    kv: f64,
    max: u32,
    replicas: u32,
    looked_s: f64,
}

// === impl Wva ===

impl Wva {
    pub(super) fn new(kv: f64, model: &Model) -> Self {
        Self { kv, max: model.engines_max, replicas: 1, looked_s: f64::NEG_INFINITY }
    }
}

impl Policy for Wva {
    fn look(&mut self, view: &View) -> Wanted {
        let ready: Vec<(f64, f64)> =
            view.ready().map(|engine| (engine.kv_used, engine.queue as f64)).collect();
        // Not while engines start, as it would count each of them again.
        let is_settled = ready.len() as u32 >= self.replicas;
        if view.now_s - self.looked_s >= LOOK_S && is_settled {
            self.looked_s = view.now_s;
            let free: Vec<&(f64, f64)> =
                ready.iter().filter(|(kv, queue)| *kv < self.kv && *queue < QUEUE).collect();
            let count = free.len() as f64;
            let spare_kv = free.iter().map(|(kv, _)| self.kv - kv).sum::<f64>() / count;
            let spare_queue = free.iter().map(|(_, queue)| QUEUE - queue).sum::<f64>() / count;
            let rest = (ready.len() as f64 - 1.0).max(0.0);
            let (kv, queue) = ready.iter().fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            let spare = SPARE_KV.min(self.kv / 4.0);
            if free.is_empty() || spare_kv < spare || spare_queue < SPARE_QUEUE {
                self.replicas = (self.replicas + 1).min(self.max);
            } else if rest >= 1.0 && kv / rest < self.kv - spare && queue / rest < QUEUE - SPARE_QUEUE {
                self.replicas -= 1;
            }
        }
        Wanted { replicas: self.replicas, leaving_first: Vec::new() }
    }
}
