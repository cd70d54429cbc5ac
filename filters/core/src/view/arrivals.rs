//! The rate at which work arrives at an endpoint: requests and prefill work per second, over the last half minute.
//!
//! A sliding window made of two: the previous window counts for the part of it that is less than a window ago. A
//! decaying average would need an exponential for each endpoint and decision.

use crate::num::float;
use crate::time::Timestamp;
use crate::work::PrefillWork;

/// Length of a window, in milliseconds: long enough to contain some requests, short enough to follow a changing load.
const WINDOW_MS: u64 = 32_000;
const MS_PER_S: f64 = 1_000.0;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arrivals {
    /// Number of the current window, counted from the clock's zero.
    window: u64,
    current: Arrived,
    before: Arrived,
}

/// The work that arrived in one window, or that arrives per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Arrived {
    /// Requests.
    pub requests: f64,
    /// Prefill work, in tokens' worth.
    pub work_tokens: f64,
}

// === impl Arrivals ===

impl Arrivals {
    pub(super) fn note(&mut self, requests: u32, work: PrefillWork, now: Timestamp) {
        *self = self.at(now.ms() / WINDOW_MS);
        self.current.requests += f64::from(requests);
        self.current.work_tokens += work.tokens();
    }

    /// The work that arrives per second.
    pub fn per_second(&self, now: Timestamp) -> Arrived {
        let at = self.at(now.ms() / WINDOW_MS);
        let past = float(now.ms() % WINDOW_MS) / float(WINDOW_MS);
        let rate =
            |current: f64, before: f64| (current + before * (1.0 - past)) * MS_PER_S / float(WINDOW_MS);
        Arrived {
            requests: rate(at.current.requests, at.before.requests),
            work_tokens: rate(at.current.work_tokens, at.before.work_tokens),
        }
    }

    /// The windows as of `window`. A clock that is set back resets them.
    fn at(&self, window: u64) -> Self {
        if window == self.window {
            *self
        } else if window == self.window + 1 {
            Self { window, current: Arrived::default(), before: self.current }
        } else {
            Self { window, ..Self::default() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Arrivals, WINDOW_MS};
    use crate::time::Timestamp;
    use crate::work::PrefillWork;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    #[test]
    fn steady_traffic_shows_as_it_is() {
        let mut arrivals = Arrivals::default();
        for number in 0..400_u64 {
            arrivals.note(1, PrefillWork(2_000), at(number * 500));
        }
        let found = arrivals.per_second(at(400 * 500));
        assert!(
            (found.requests - 2.0).abs() < 0.1 && (found.work_tokens - 4_000.0).abs() < 200.0,
            "{found:?}"
        );
    }

    #[test]
    fn silence_ends_what_was() {
        let mut arrivals = Arrivals::default();
        arrivals.note(100, PrefillWork(1), at(WINDOW_MS));
        let later = |windows: u64| arrivals.per_second(at(WINDOW_MS + windows * WINDOW_MS)).requests;
        assert!(later(1) > 0.0);
        assert!(later(2).abs() < 1e-12 && later(9).abs() < 1e-12);
        assert!(arrivals.per_second(at(0)).requests.abs() < 1e-12, "a clock that was set back");
    }
}
