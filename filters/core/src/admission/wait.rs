//! How long a request would wait, from how fast those before it got their places.

use super::{Admission, Asked};
use crate::num::{count, float};
use crate::time::Timestamp;

/// Weight of the newest second: the mean reaches a minute back.
const SECOND_WEIGHT: f64 = 1.0 / 60.0;
/// Seconds that must have been seen.
const SECONDS_MIN: u32 = 30;
const MS_PER_S: f64 = 1_000.0;

/// How many tokens the places have that held requests get in a second, while any are held.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drained {
    now: u64,
    mean: f64,
    /// Weight of what `mean` has seen, up to one.
    weight: f64,
    seconds: u32,
}

// === impl Drained ===

impl Drained {
    pub(super) fn note(&mut self, tokens: u64) {
        self.now = self.now.saturating_add(tokens);
    }

    /// A second has passed.
    pub(super) fn tick(&mut self, is_waiting: bool) {
        let tokens = std::mem::take(&mut self.now);
        if is_waiting || tokens > 0 {
            self.mean += SECOND_WEIGHT * (float(tokens) - self.mean);
            self.weight += SECOND_WEIGHT * (1.0 - self.weight);
            self.seconds = self.seconds.saturating_add(1);
        }
    }

    fn tokens_per_s(&self) -> Option<f64> {
        (self.seconds >= SECONDS_MIN && self.mean > 0.0).then(|| self.mean / self.weight)
    }
}

// === impl Admission ===

impl Admission {
    /// How long a request that is held now is likely to wait, in milliseconds; `None`: nobody knows.
    pub fn wait_ms(&self, asked: &Asked, now: Timestamp) -> Option<u64> {
        let tokens_per_s = self.drained.tokens_per_s()?;
        Some(count(float(self.tokens_ahead(asked, now)) / tokens_per_s * MS_PER_S))
    }
}
