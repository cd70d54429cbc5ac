//! A fixed number of requests at each engine: the obvious way to keep engines from too much, and what a circuit breaker with a queue
//! does.

use super::Valve;
use crate::fleet::Among;
use crate::workload::Job;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Fixed {
    requests_max: usize,
}

// === impl Fixed ===

impl Fixed {
    /// So many at an engine at most.
    pub fn new(requests_max: usize) -> Self {
        Self { requests_max }
    }
}

impl Valve for Fixed {
    fn open(&mut self, _job: &Job, among: Among<'_>) -> Vec<bool> {
        among.nodes().iter().map(|node| node.load.requests < self.requests_max).collect()
    }
}
