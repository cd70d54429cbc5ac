//! The level of a demand and its trend, from what came in each interval.
//!
//! Both count only as far as they are significant. The last interval, or a slope fitted to a few of them, would make every burst of
//! a Poisson process a reason to start engines that come when it is over.

use std::collections::VecDeque;
use warmpath_core::num::float_len;

/// Samples that are kept: an hour of intervals of 5 s.
const SAMPLES_MAX: usize = 720;
/// Samples below which nothing is said of a trend.
const SAMPLES_MIN: usize = 12;
/// The stretch whose mean is compared with the level, in seconds.
const RECENT_S: f64 = 60.0;
/// Standard errors from which on a trend, or a departure from the level, counts: one in a hundred exceeds that by chance.
const STANDARD_ERRORS: f64 = 2.5;

/// Growth beyond the level that a trend is believed at most: a step looks like a trend for a while.
const GROWTH_MAX: f64 = 0.5;

/// What came, interval by interval.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Series {
    samples: VecDeque<Sample>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Sample {
    /// The middle of the interval, in seconds.
    at_s: f64,
    /// Its length, in seconds.
    window_s: f64,
    /// What came in it, per second.
    rate: f64,
}

/// What is expected.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Forecast {
    /// Per second, now.
    pub(crate) level: f64,
    /// By how much that changes in a second.
    pub(crate) slope: f64,
}

// === impl Series ===

impl Series {
    /// Notes what came in the `window_s` seconds before `now_s`.
    pub(crate) fn note(&mut self, amount: f64, window_s: f64, now_s: f64) {
        if window_s <= 0.0 || !amount.is_finite() {
            return;
        }
        if self.samples.len() >= SAMPLES_MAX {
            self.samples.pop_front();
        }
        let rate = (amount / window_s).max(0.0);
        self.samples.push_back(Sample { at_s: now_s - window_s / 2.0, window_s, rate });
    }

    /// Nothing came and went for so many seconds.
    pub(crate) fn later(&mut self, seconds: f64) {
        self.samples.iter_mut().for_each(|sample| sample.at_s += seconds);
    }

    /// What the last `span_s` seconds lead to expect.
    pub(crate) fn forecast(&self, span_s: f64, now_s: f64) -> Forecast {
        let counted = self.samples.iter().filter(|sample| sample.at_s >= now_s - span_s);
        let counted: Vec<Sample> = counted.copied().collect();
        let weight: f64 = counted.iter().map(|sample| sample.window_s).sum();
        if weight <= 0.0 {
            return Forecast::default();
        }
        let mean = |of: &dyn Fn(&Sample) -> f64| {
            counted.iter().map(|sample| of(sample) * sample.window_s).sum::<f64>() / weight
        };
        let (at, rate) = (mean(&|sample| sample.at_s), mean(&|sample| sample.rate));
        if counted.len() < SAMPLES_MIN {
            return Forecast { level: rate, slope: 0.0 };
        }
        let spread = mean(&|sample| (sample.at_s - at).powi(2));
        let slope = mean(&|sample| (sample.at_s - at) * (sample.rate - rate)) / spread.max(f64::MIN_POSITIVE);
        let about = |slope: f64| mean(&|sample| (sample.rate - rate - slope * (sample.at_s - at)).powi(2));
        let variance = about(slope);
        let slope_error = (variance / spread.max(f64::MIN_POSITIVE) / float_len(counted.len())).sqrt();
        let (slope, variance) =
            if slope.abs() > STANDARD_ERRORS * slope_error { (slope, variance) } else { (0.0, about(0.0)) };
        let fitted = |at_s: f64| rate + slope * (at_s - at);
        let recent = counted.iter().filter(|sample| sample.at_s >= now_s - RECENT_S);
        let recent: Vec<f64> = recent.map(|sample| sample.rate - fitted(sample.at_s)).collect();
        let count = float_len(recent.len()).max(1.0);
        let departure = recent.iter().sum::<f64>() / count;
        let is_departed = departure.abs() > STANDARD_ERRORS * (variance / count).sqrt();
        let level = fitted(now_s) + if is_departed { departure } else { 0.0 };
        Forecast { level: level.max(0.0), slope }
    }
}

// === impl Forecast ===

impl Forecast {
    /// What is expected in `ahead_s` seconds. A fall is believed when it has come, because an engine too few costs more than one
    /// too many.
    pub(crate) fn ahead(self, ahead_s: f64) -> f64 {
        self.level + (self.slope.max(0.0) * ahead_s).min(self.level * GROWTH_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::{Forecast, Series};

    const INTERVAL_S: f64 = 5.0;

    fn played(intervals: u32, rate: impl Fn(f64) -> f64) -> (Forecast, f64) {
        let mut series = Series::default();
        let mut now_s = 0.0;
        for _ in 0..intervals {
            now_s += INTERVAL_S;
            series.note(rate(now_s) * INTERVAL_S, INTERVAL_S, now_s);
        }
        (series.forecast(600.0, now_s), now_s)
    }

    /// Noise of a fifth that repeats.
    fn noisy(at_s: f64) -> f64 {
        1.0 + 0.3 * (at_s * 12.9898).sin()
    }

    #[test]
    fn noise_is_no_trend_and_its_mean_is_the_level() {
        let (forecast, _) = played(120, noisy);
        assert!((forecast.level - 1.0).abs() < 0.05 && forecast.slope.abs() < 1e-9, "{forecast:?}");
    }

    #[test]
    fn a_ramp_is_carried_on_and_a_fall_is_not() {
        let (up, now_s) = played(120, |at_s| noisy(at_s) + at_s / 100.0);
        assert!((up.ahead(100.0) - (now_s / 100.0 + 2.0)).abs() < 0.3, "{up:?}");
        let (down, _) = played(120, |at_s| noisy(at_s) + 10.0 - at_s / 100.0);
        assert!(down.slope < 0.0 && down.ahead(100.0) >= down.level - 1e-9, "{down:?}");
    }

    #[test]
    fn a_step_counts_within_a_minute() {
        let (forecast, _) = played(120, |at_s| if at_s > 540.0 { 4.0 } else { 1.0 } * noisy(at_s));
        assert!(forecast.level > 3.0, "{forecast:?}");
    }

    #[test]
    fn odd_values_are_left_out() {
        let mut series = Series::default();
        series.note(f64::NAN, 5.0, 5.0);
        series.note(1.0, 0.0, 5.0);
        assert_eq!(series.forecast(600.0, 5.0), Forecast::default());
        series.note(10.0, 5.0, 10.0);
        let ahead = series.forecast(600.0, 10.0).ahead(60.0);
        assert!((ahead - 2.0).abs() < 1e-9, "the first interval is the level");
    }
}
