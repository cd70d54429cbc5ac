//! Any engine, whatever it does: llm-d's `random-picker`, and a Kubernetes Service, which draws one for each
//! connection. Only for the published ladders; in the comparison round-robin stands for both, as the better one.

use super::Rule;
use crate::fleet::Fleet;
use crate::workload::Job;
use rand::{Rng, SeedableRng, rngs::StdRng};

/// See the module.
#[derive(Debug)]
pub struct Random {
    random: StdRng,
}

// === impl Random ===

impl Random {
    /// Draws by a seed.
    pub fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed) }
    }
}

impl Rule for Random {
    fn choose(&mut self, _now_s: f64, _id: u64, _job: &Job, fleet: &Fleet) -> usize {
        self.random.random_range(0..fleet.len())
    }
}
