//! The time that held requests wait: the sum of the intervals between looks at the clock.
//!
//! Not the difference between two times of day: a clock that is set back by an hour would hold requests for an hour more, and one that
//! is set ahead would refuse all of them at once.

use crate::time::Timestamp;

/// The longest interval that counts, in milliseconds. Ticks are much more frequent while anything is held; what is longer is a clock
/// that was set ahead, or a process that was stopped.
const INTERVAL_MS_MAX: u64 = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct HoldClock {
    at: Timestamp,
    us: u64,
}

// === impl HoldClock ===

impl HoldClock {
    /// Milliseconds since some moment, always the same one.
    pub(super) fn ms(&mut self, now: Timestamp) -> u64 {
        self.us += now.us_since(self.at).min(INTERVAL_MS_MAX * 1_000);
        self.at = now;
        self.us / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_ages_nobody() {
        let mut clock = HoldClock::default();
        let start = clock.ms(Timestamp::from_ms(1_000_000));
        assert_eq!(clock.ms(Timestamp::from_ms(1_000_250)) - start, 250);
        assert_eq!(clock.ms(Timestamp::from_ms(400_000)) - start, 250, "set back");
        assert_eq!(clock.ms(Timestamp::from_ms(400_100)) - start, 350);
        assert_eq!(clock.ms(Timestamp::from_ms(9_000_000)) - start, 10_350, "set ahead");
    }

    #[test]
    fn parts_of_a_millisecond_add_up() {
        let mut clock = HoldClock::default();
        let start = clock.ms(Timestamp::from_us(1_000_000));
        let end = (1..=5_000).map(|step| clock.ms(Timestamp::from_us(1_000_000 + 500 * step))).last();
        assert_eq!(end, Some(start + 2_500));
    }
}
