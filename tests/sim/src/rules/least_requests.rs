//! The engine with the fewest requests under way; of equal ones, each in turn.

use super::Rule;
use crate::fleet::Fleet;
use crate::workload::Job;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct LeastRequests {
    next: usize,
}

// === impl LeastRequests ===

impl Rule for LeastRequests {
    fn choose(&mut self, _now_s: f64, _id: u64, _job: &Job, fleet: &Fleet) -> usize {
        self.next += 1;
        fleet.least(self.next, |_, node| node.load.requests)
    }
}
