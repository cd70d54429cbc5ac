//! Repetitions of one figure: the median, and how far the others were from it.
//!
//! The median and not the mean, because disturbances of a machine only ever add. Least and most beside it, because
//! five repetitions have no quantiles worth a name.

use crate::number::{decimals, number};
use serde::Serialize;

/// Median, least and most of the repetitions. All zero where there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// Half are no more; of an even number, the mean of the two in the middle.
    pub median: f64,
    /// The most.
    pub max: f64,
}

// === impl Spread ===

impl Spread {
    /// Of these values, in any order.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        let last = sorted.len().saturating_sub(1);
        let median = f64::midpoint(at(last / 2), at(sorted.len() / 2));
        Self { min: at(0), median, max: at(last) }
    }

    /// Of `ours` against `base`, repetition by repetition: neighbours in time are alike.
    pub fn of_pairs(ours: &[f64], base: &[f64], combine: impl Fn(f64, f64) -> f64) -> Self {
        Self::of(ours.iter().zip(base).map(|(ours, base)| combine(*ours, *base)))
    }

    /// Whether all values are the same, as one value is.
    pub fn is_single(self) -> bool {
        self.min.total_cmp(&self.max).is_eq()
    }

    /// "12.3 (11.9 to 14.0)": the median and the least and most. Those two have the decimals of the larger one: beside
    /// 18, hundredths of the other mean nothing.
    pub fn show(self) -> String {
        if self.is_single() {
            return number(self.median);
        }
        let decimals = decimals(self.min.abs().max(self.max.abs()));
        format!("{} ({:.decimals$} to {:.decimals$})", number(self.median), self.min, self.max)
    }
}

/// The one divided by the other, for [`Spread::of_pairs`].
pub fn ratio(ours: f64, base: f64) -> f64 {
    if base == 0.0 { 0.0 } else { ours / base }
}

/// The one less the other, for [`Spread::of_pairs`].
pub fn difference(ours: f64, base: f64) -> f64 {
    ours - base
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_and_the_spread_around_it() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Spread { min: 1.0, median: 2.0, max: 3.0 });
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]), Spread { min: 1.0, median: 2.5, max: 4.0 });
        assert_eq!(Spread::of([7.0]), Spread { min: 7.0, median: 7.0, max: 7.0 });
        assert_eq!(Spread::of([]), Spread::default());
    }

    #[test]
    fn pairs_are_neighbours_in_time() {
        // A machine that slows down by the double in the second repetition.
        let (ours, base) = ([30.0, 60.0, 33.0], [10.0, 20.0, 11.0]);
        let found = Spread::of_pairs(&ours, &base, ratio);
        assert_eq!(found, Spread { min: 3.0, median: 3.0, max: 3.0 });
        assert_eq!(Spread::of_pairs(&ours, &base, difference), Spread { min: 20.0, median: 22.0, max: 40.0 });
        assert_eq!(Spread::of_pairs(&ours, &[0.0], ratio), Spread::default());
    }

    #[test]
    fn a_range_that_begins_below_zero_can_be_read() {
        assert_eq!(Spread::of([-15.63, 18.24]).show(), "1.30 (-15.6 to 18.2)");
    }

    #[test]
    fn one_value_is_shown_without_a_spread() {
        assert_eq!(Spread::of([1.25]).show(), "1.25");
        assert_eq!(Spread::of([90.0, 120.4, 400.0]).show(), "120 (90 to 400)");
    }
}
