//! How long the first tokens at each endpoint have taken lately, as proxies measure it.
//!
//! Counts by logarithmic ranges, which fade as the sums of `usage` do, so that a percentile of several endpoints is one of their
//! sum. To keep the times themselves would take more for each request, and the mean hides what people ask for.

use super::usage::HALF_LIFE_MS;
use fnv::FnvHashMap;
use std::iter;
use warmpath_core::ids::EndpointId;
use warmpath_core::num::float;
use warmpath_core::time::Timestamp;
use warmpath_core::view::View;
use warmpath_core::wire::{Outcome, OutcomeClass};

/// Ranges of a doubling: a percentile is right within 9 %.
const RANGES_PER_DOUBLING: u32 = 4;
/// The upper end of the first range, in milliseconds, and the number of ranges: the last one begins after 35 minutes.
const FIRST_MS: f64 = 1.0;
const RANGES: usize = 84;
/// Requests from which on a percentile means something.
const REQUESTS_MIN: f64 = 20.0;

/// How many first tokens took how long; fading.
#[derive(Clone, Debug, PartialEq)]
pub struct FirstTokens([f64; RANGES]);

/// The first tokens of all endpoints.
#[derive(Debug, Default)]
pub(super) struct Latency {
    sums: FnvHashMap<EndpointId, (Timestamp, FirstTokens)>,
}

// === impl FirstTokens ===

impl Default for FirstTokens {
    fn default() -> Self {
        Self([0.0; RANGES])
    }
}

impl FirstTokens {
    /// The time that this share of the requests had their first token within, in milliseconds; `None`: there were too few.
    pub fn percentile_ms(&self, share: f64) -> Option<f64> {
        let all: f64 = self.0.iter().sum();
        if all < REQUESTS_MIN {
            return None;
        }
        let within = self.0.iter().scan(0.0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        let ends = iter::successors(Some(FIRST_MS), |end| Some(end * step()));
        // Rounding may leave the sum of all below the share of it.
        within.zip(ends).find_map(|(within, end)| (within >= all * share - 1e-9).then_some(end))
    }

    /// The sums of two.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        for (count, other) in self.0.iter_mut().zip(other.0) {
            *count += other;
        }
        self
    }

    /// How many there were.
    pub fn count(&self) -> f64 {
        self.0.iter().sum()
    }

    /// How many of them took longer, as far as the ranges show: those of the range that `ms` is in are not among them.
    pub fn later_than(&self, ms: f64) -> f64 {
        let begins = iter::successors(Some(FIRST_MS), |end| Some(end * step()));
        let begins = iter::once(0.0).chain(begins);
        begins.zip(self.0).filter(|(begin, _)| *begin >= ms).map(|(_, count)| count).sum()
    }

    fn faded(mut self, ms: u64) -> Self {
        let share = (-float(ms) / HALF_LIFE_MS).exp2();
        for count in &mut self.0 {
            *count *= share;
        }
        self
    }

    pub(super) fn note(&mut self, ms: f64) {
        let ends = iter::successors(Some(FIRST_MS), |end| Some(end * step()));
        let last = RANGES.saturating_sub(1);
        let range = ends.take(last).position(|end| ms <= end).unwrap_or(last);
        if let Some(count) = self.0.get_mut(range) {
            *count += 1.0;
        }
    }
}

// === impl Latency ===

impl Latency {
    /// Takes in an outcome, if it is a first token whose time is known, at an endpoint that is in a pool.
    pub(super) fn note(&mut self, outcome: &Outcome, view: &View, now: Timestamp) {
        let endpoint = EndpointId(outcome.endpoint);
        let is_timed = outcome.class() == OutcomeClass::Served && outcome.ttft_us > 0;
        if is_timed && view.slot(endpoint).is_some() {
            self.add(endpoint, float(outcome.ttft_us) / 1e3, now);
        }
    }

    fn add(&mut self, endpoint: EndpointId, ms: f64, now: Timestamp) {
        let mut sum = self.of(endpoint, now);
        sum.note(ms);
        self.sums.insert(endpoint, (now, sum));
    }

    /// The first tokens of an endpoint as of now.
    pub(super) fn of(&self, endpoint: EndpointId, now: Timestamp) -> FirstTokens {
        let known = self.sums.get(&endpoint).cloned();
        known.map_or_else(FirstTokens::default, |(at, sum)| sum.faded(now.ms_since(at)))
    }

    /// Drops endpoints that are in no pool any more.
    pub(super) fn retain(&mut self, view: &View) {
        self.sums.retain(|endpoint, _| view.slot(*endpoint).is_some());
    }
}

fn step() -> f64 {
    (1.0 / f64::from(RANGES_PER_DOUBLING)).exp2()
}

#[cfg(test)]
mod tests {
    use super::{FirstTokens, Latency};
    use warmpath_core::ids::EndpointId;
    use warmpath_core::time::Timestamp;

    const ENDPOINT: EndpointId = EndpointId(7);

    fn latency(times: &[(u64, f64)]) -> Latency {
        let mut latency = Latency::default();
        for (at, ms) in times {
            latency.add(ENDPOINT, *ms, Timestamp::from_ms(*at));
        }
        latency
    }

    #[test]
    fn a_percentile_is_right_within_a_range() {
        let times: Vec<(u64, f64)> = (1..=100).map(|number| (0, f64::from(number) * 10.0)).collect();
        let sum = latency(&times).of(ENDPOINT, Timestamp::ZERO);
        for (share, ms) in [(0.5, 500.0), (0.9, 900.0), (1.0, 1_000.0)] {
            let found = sum.percentile_ms(share).unwrap();
            assert!(found >= ms && found <= ms * super::step(), "{share}: {found}");
        }
    }

    #[test]
    fn few_requests_say_nothing_and_a_wait_beyond_all_ranges_counts() {
        assert_eq!(FirstTokens::default().percentile_ms(0.9), None);
        let few = latency(&[(0, 1.0); 19]).of(ENDPOINT, Timestamp::ZERO);
        assert_eq!(few.percentile_ms(0.9), None);
        let long = latency(&[(0, 1e12); 20]).of(ENDPOINT, Timestamp::ZERO);
        assert!(long.percentile_ms(0.9).unwrap() > 1_500_000.0);
    }

    #[test]
    fn what_was_measured_lately_outweighs_what_was_before() {
        let before = vec![(0, 1_000.0); 40];
        let lately = vec![(900_000, 10.0); 60];
        let sum = latency(&[before, lately].concat()).of(ENDPOINT, Timestamp::from_ms(900_000));
        assert!(sum.percentile_ms(0.9).unwrap() < 12.0);
        assert!(sum.percentile_ms(0.95).unwrap() > 900.0);
    }

    #[test]
    fn endpoints_add_up() {
        let of = |ms| latency(&[(0, ms); 10]).of(ENDPOINT, Timestamp::ZERO);
        let both = of(10.0).and(&of(1_000.0));
        assert!(both.percentile_ms(0.5).unwrap() < 12.0 && both.percentile_ms(0.9).unwrap() >= 1_000.0);
    }
}
