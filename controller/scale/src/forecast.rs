//! The level of a demand and its trend, from what came in each interval.
//!
//! Both count only as far as they are significant. The last interval, or a slope fitted to a few of them, would make every burst of
//! a Poisson process a reason to start engines that come when it is over. So a line is fitted to as long a past as one line describes: a
//! ramp that has ended bends it, and what was before the bend is left out as soon as that is significant, too.

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

/// A stretch of the past is shortened by this factor as long as its latest parts contradict its line, down to so many seconds.
const SHORTER: f64 = 1.5;
const SPAN_S_MIN: f64 = 150.0;
/// The parts that are compared with the line, as shares of the stretch up to its end: a bend shows first in the shortest.
const LATEST: [f64; 3] = [0.5, 0.25, 0.125];
/// Samples of a part below which nothing is said of it.
const PART_SAMPLES_MIN: usize = 6;

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

/// A line through the rates of a stretch.
#[derive(Clone, Copy, Debug)]
struct Line {
    /// The middle of the stretch, in seconds, and the rate there.
    at_s: f64,
    rate: f64,
    slope: f64,
    /// The mean square of the distances in time from the middle.
    spread: f64,
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

    /// What at most the last `span_s` seconds lead to expect.
    pub(crate) fn forecast(&self, span_s: f64, now_s: f64) -> Forecast {
        let mut span_s = span_s;
        while span_s > SPAN_S_MIN && self.is_bent(span_s, now_s) {
            span_s /= SHORTER;
        }
        let counted = self.since(now_s - span_s);
        let Some(line) = Line::through(&counted) else { return Forecast::default() };
        if counted.len() < SAMPLES_MIN {
            return Forecast { level: line.rate, slope: 0.0 };
        }
        let slope_error = (line.variance(&counted) / line.spread / float_len(counted.len())).sqrt();
        let is_trend = line.slope.abs() > STANDARD_ERRORS * slope_error;
        let line = if is_trend { line } else { Line { slope: 0.0, ..line } };
        let recent: Vec<Sample> =
            counted.iter().filter(|sample| sample.at_s >= now_s - RECENT_S).copied().collect();
        let departure = line.departure(&recent, line.variance(&counted)).unwrap_or_default();
        Forecast { level: (line.at(now_s) + departure).max(0.0), slope: line.slope }
    }

    /// Whether the latest of the last `span_s` seconds do not lie on the line through all of them.
    fn is_bent(&self, span_s: f64, now_s: f64) -> bool {
        let counted = self.since(now_s - span_s);
        let Some(line) = Line::through(&counted).filter(|_| counted.len() >= SAMPLES_MIN) else {
            return false;
        };
        let variance = line.variance(&counted);
        LATEST.iter().any(|share| {
            let part = self.since(now_s - span_s * share);
            part.len() >= PART_SAMPLES_MIN && line.departure(&part, variance).is_some()
        })
    }

    fn since(&self, from_s: f64) -> Vec<Sample> {
        self.samples.iter().filter(|sample| sample.at_s >= from_s).copied().collect()
    }
}

// === impl Line ===

impl Line {
    /// None through nothing.
    fn through(samples: &[Sample]) -> Option<Self> {
        let weight: f64 = samples.iter().map(|sample| sample.window_s).sum();
        if weight <= 0.0 {
            return None;
        }
        let mean = |of: &dyn Fn(&Sample) -> f64| {
            samples.iter().map(|sample| of(sample) * sample.window_s).sum::<f64>() / weight
        };
        let (at_s, rate) = (mean(&|sample| sample.at_s), mean(&|sample| sample.rate));
        let spread = mean(&|sample| (sample.at_s - at_s).powi(2)).max(f64::MIN_POSITIVE);
        let slope = mean(&|sample| (sample.at_s - at_s) * (sample.rate - rate)) / spread;
        Some(Self { at_s, rate, slope, spread })
    }

    fn at(&self, at_s: f64) -> f64 {
        self.rate + self.slope * (at_s - self.at_s)
    }

    /// The mean square of the distances of rates from it.
    fn variance(&self, samples: &[Sample]) -> f64 {
        let weight: f64 = samples.iter().map(|sample| sample.window_s).sum();
        let squares = samples.iter().map(|one| (one.rate - self.at(one.at_s)).powi(2) * one.window_s);
        squares.sum::<f64>() / weight.max(f64::MIN_POSITIVE)
    }

    /// By how much rates depart from it in the mean, if that is more than rates of such a variance do by chance.
    fn departure(&self, samples: &[Sample], variance: f64) -> Option<f64> {
        let count = float_len(samples.len()).max(1.0);
        let departure = samples.iter().map(|sample| sample.rate - self.at(sample.at_s)).sum::<f64>() / count;
        (departure.abs() > STANDARD_ERRORS * (variance / count).sqrt()).then_some(departure)
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

    /// Engines were started for a ramp that had ended a quarter of an hour before.
    #[test]
    fn a_ramp_that_has_ended_is_not_carried_on() {
        // A tenth of noise.
        let ramp = |at_s: f64| (2.0 + noisy(at_s)) / 3.0 * at_s.min(600.0) / 60.0;
        let (on, _) = played(120, ramp);
        assert!(on.ahead(300.0) > 13.0, "{on:?}");
        let (ended, _) = played(156, ramp);
        assert!(ended.ahead(300.0) < 11.5 && ended.level > 9.0, "{ended:?}");
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
