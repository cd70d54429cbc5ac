//! Each engine in turn: a Kubernetes Service, or Envoy by default.

use super::Rule;
use crate::fleet::Fleet;
use crate::workload::Job;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    next: usize,
}

// === impl RoundRobin ===

impl Rule for RoundRobin {
    fn choose(&mut self, _now_s: f64, _id: u64, _job: &Job, fleet: &Fleet) -> usize {
        self.next += 1;
        (self.next - 1) % fleet.len()
    }
}
