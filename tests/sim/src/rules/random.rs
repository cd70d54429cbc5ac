//! Any engine, whatever it does: llm-d's `random-picker`, and a Kubernetes Service, which draws one for each
//! connection. Only for the published ladders; in the comparison round-robin stands for both, as the better one.

use super::Formula;
use crate::fleet::Among;
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

impl Formula for Random {
    fn choose(&mut self, _job: &Job, among: Among<'_>) -> usize {
        self.random.random_range(0..among.len())
    }
}
