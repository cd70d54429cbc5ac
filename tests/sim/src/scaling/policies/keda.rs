//! KEDA on the requests that are under way, at engines and held before them.

use super::hpa::Hpa;
use super::{Policy, View, Wanted};
use crate::scaling::setting::Model;

/// See the module.
pub(super) struct Keda(Hpa);

// === impl Keda ===

impl Keda {
    pub(super) fn new(requests: f64, model: &Model) -> Self {
        Self(Hpa::new(requests, model.engines_max))
    }
}

impl Policy for Keda {
    fn look(&mut self, view: &View) -> Wanted {
        let in_flight: usize = view.engines.iter().map(|engine| engine.in_flight).sum();
        let replicas = self.0.replicas((in_flight + view.held) as f64, view.now_s);
        Wanted { replicas, leaving_first: Vec::new() }
    }
}
