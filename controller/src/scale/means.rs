//! Means of what requests bring, which fade: a minute without any must not forget them, and last week's must not count.

/// After this time a request counts half, in seconds.
const HALF_LIFE_S: f64 = 300.0;

/// The mean of a quantity.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Mean {
    sum: f64,
    count: f64,
}

// === impl Mean ===

impl Mean {
    /// Adds `count` values with this sum.
    pub(super) fn add(&mut self, sum: f64, count: f64) {
        if sum.is_finite() && count > 0.0 {
            self.sum += sum.max(0.0);
            self.count += count;
        }
    }

    /// So many seconds pass.
    pub(super) fn fade(&mut self, seconds: f64) {
        let share = (-seconds.max(0.0) / HALF_LIFE_S).exp2();
        self.sum *= share;
        self.count *= share;
    }

    /// The mean; `None`: nothing is known of it.
    pub(super) fn get(self) -> Option<f64> {
        // A sum that has faded for hours says as much as a fresh one, until its digits are gone.
        (self.count > f64::MIN_POSITIVE).then(|| self.sum / self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::{HALF_LIFE_S, Mean};

    #[test]
    fn what_came_lately_outweighs_what_came_before_and_silence_forgets_nothing() {
        let mut mean = Mean::default();
        assert_eq!(mean.get(), None);
        mean.add(100.0, 1.0);
        mean.fade(HALF_LIFE_S);
        mean.add(400.0, 1.0);
        assert_eq!(mean.get(), Some(300.0));
        mean.fade(100.0 * HALF_LIFE_S);
        assert_eq!(mean.get().map(f64::round), Some(300.0));
        mean.add(f64::NAN, 1.0);
        assert_eq!(mean.get().map(f64::round), Some(300.0));
    }
}
