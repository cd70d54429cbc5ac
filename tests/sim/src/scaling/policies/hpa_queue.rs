//! An HPA on the length of the engines' queues.

use super::hpa::Hpa;
use super::{Policy, View, Wanted};
use crate::scaling::setting::Model;

/// See the module.
pub(super) struct HpaQueue(Hpa);

// === impl HpaQueue ===

impl HpaQueue {
    pub(super) fn new(queue: f64, model: &Model) -> Self {
        Self(Hpa::new(queue, model.engines_max))
    }
}

impl Policy for HpaQueue {
    fn look(&mut self, view: &View) -> Wanted {
        let queued: usize = view.ready().map(|engine| engine.queue).sum();
        let replicas = self.0.replicas((queued + view.held) as f64, view.now_s);
        Wanted { replicas, leaving_first: Vec::new() }
    }
}
