//! The engine with the fewest requests under way; of equal ones, each in turn.

use super::Formula;
use crate::fleet::Among;
use crate::workload::Job;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct LeastRequests {
    next: usize,
}

// === impl LeastRequests ===

impl Formula for LeastRequests {
    fn choose(&mut self, _job: &Job, among: Among<'_>) -> usize {
        self.next += 1;
        among.least(self.next, |_, node| node.load.requests)
    }
}
