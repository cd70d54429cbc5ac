//! Quantiles of a sample, by nearest rank: the smallest value that at least that share of the sample does not
//! exceed. Always a value that occurred, and no rule for interpolation to explain.

use serde::Serialize;

/// What reports show of a distribution, in the unit of its values. All zero for an empty sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// The median.
    pub p50: f64,
    /// Nine of ten are no more.
    pub p90: f64,
    /// Ninety-nine of a hundred are no more.
    pub p99: f64,
    /// The arithmetic mean.
    pub mean: f64,
}

// === impl Quantiles ===

impl Quantiles {
    /// Of these values, in any order.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let mean = if sorted.is_empty() { 0.0 } else { sorted.iter().sum::<f64>() / sorted.len() as f64 };
        let [p50, p90, p99] = [50, 90, 99].map(|percent| at(&sorted, percent));
        Self { p50, p90, p99, mean }
    }
}

/// A percentile of these values, in any order; 0 for none.
pub fn percentile(values: impl IntoIterator<Item = f64>, percent: usize) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    at(&sorted, percent)
}

/// A percentile of ascending values. Whole percents keep the rank exact.
fn at(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    /// The definition, word by word.
    fn naive(values: &[f64], percent: usize) -> f64 {
        let not_exceeding = |limit: f64| values.iter().filter(|value| **value <= limit).count();
        let enough = values.iter().filter(|value| not_exceeding(**value) * 100 >= percent * values.len());
        enough.copied().fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn quantiles_agree_with_their_definition() {
        let seed = 5;
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        for length in 1..250 {
            let values: Vec<f64> = (0..length).map(|_| f64::from(random.random_range(0..40))).collect();
            let found = Quantiles::of(values.iter().copied());
            for (value, percent) in [(found.p50, 50), (found.p90, 90), (found.p99, 99)] {
                assert!(value.total_cmp(&naive(&values, percent)).is_eq(), "{percent} of {values:?}");
            }
        }
    }

    #[test]
    fn an_empty_sample_is_zero_and_a_mean_is_a_mean() {
        assert_eq!(Quantiles::of([]), Quantiles::default());
        assert!((Quantiles::of([1.0, 2.0, 6.0]).mean - 3.0).abs() < 1e-12);
    }
}
