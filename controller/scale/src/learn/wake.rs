//! How long an engine takes to start: the median of the last starts.
//!
//! A mean would follow the one pod in ten that pulls its image over a slow network, or whose node was still to be bought.

use std::collections::VecDeque;

/// Starts that are kept: enough for a median that two slow ones do not move, few enough to follow a new image within a rollout.
const STARTS_MAX: usize = 9;
/// The shortest and the longest start, in seconds: shorter, a plan would never forecast; longer, it would for hours.
const WAKE_S_MIN: f64 = 0.5;
const WAKE_S_MAX: f64 = 3_600.0;

/// The starts of a role's engines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wake {
    /// The last ones, in seconds, the newest last.
    starts_s: VecDeque<f64>,
    /// The shortest of those that nobody timed, in seconds.
    supposed_s: Option<f64>,
}

// === impl Wake ===

impl Wake {
    /// An engine became ready so many seconds after its pod was made. Each pod counts once: one that becomes ready again has not
    /// started again.
    pub fn note(&mut self, seconds: f64) {
        if !seconds.is_finite() || seconds < 0.0 {
            return;
        }
        if self.starts_s.len() >= STARTS_MAX {
            self.starts_s.pop_front();
        }
        self.starts_s.push_back(seconds.clamp(WAKE_S_MIN, WAKE_S_MAX));
    }

    /// An engine that was there before anybody looked is said to have taken so many seconds. It counts until a start was timed, and of
    /// several the shortest: whatever came between makes them longer.
    pub fn suppose(&mut self, seconds: f64) {
        if seconds.is_finite() && seconds >= 0.0 {
            let seconds = seconds.clamp(WAKE_S_MIN, WAKE_S_MAX);
            self.supposed_s = Some(self.supposed_s.map_or(seconds, |known| known.min(seconds)));
        }
    }

    /// Seconds that an engine takes to start; none before one has. Of an even number of starts the longer median counts.
    pub fn wake_s(&self) -> Option<f64> {
        let mut sorted: Vec<f64> = self.starts_s.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().or(self.supposed_s)
    }
}

#[cfg(test)]
mod tests {
    use super::{STARTS_MAX, Wake};

    fn after(starts_s: &[f64]) -> Option<f64> {
        let mut wake = Wake::default();
        for seconds in starts_s {
            wake.note(*seconds);
        }
        wake.wake_s()
    }

    #[test]
    fn a_slow_start_among_usual_ones_does_not_count_and_a_new_usual_does() {
        assert_eq!(after(&[]), None);
        assert_eq!(after(&[100.0]), Some(100.0));
        assert_eq!(after(&[100.0, 900.0, 101.0, 99.0]), Some(101.0));
        let changed = [vec![100.0; STARTS_MAX], vec![30.0; STARTS_MAX / 2 + 1]].concat();
        assert_eq!(after(&changed), Some(30.0));
    }

    #[test]
    fn a_start_that_nobody_timed_counts_until_one_was() {
        let mut wake = Wake::default();
        for seconds in [f64::NAN, 5_000.0, 90.0, 700.0] {
            wake.suppose(seconds);
        }
        assert_eq!(wake.wake_s(), Some(90.0));
        wake.note(130.0);
        assert_eq!(wake.wake_s(), Some(130.0));
    }

    #[test]
    fn times_that_no_start_takes_are_bounded_or_ignored() {
        assert_eq!(after(&[f64::NAN, f64::INFINITY, -1.0]), None);
        assert_eq!((after(&[0.0]), after(&[1e9])), (Some(0.5), Some(3_600.0)));
    }
}
