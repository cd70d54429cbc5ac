//! Each engine in turn: a Kubernetes Service, or Envoy by default.

use super::Formula;
use crate::fleet::Among;
use crate::workload::Job;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    next: usize,
}

// === impl RoundRobin ===

impl Formula for RoundRobin {
    fn choose(&mut self, _job: &Job, among: Among<'_>) -> usize {
        self.next += 1;
        (self.next - 1) % among.len()
    }
}
