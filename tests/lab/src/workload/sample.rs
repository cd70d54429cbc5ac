//! Drawing from a log-normal distribution.

use super::Length;
use rand::Rng;

// === impl Length ===

impl Length {
    /// A value.
    pub(super) fn draw(self, random: &mut impl Rng) -> f64 {
        let normal = standard_normal(random);
        (self.median * (self.sigma * normal).exp()).clamp(self.min, self.max)
    }

    /// A value as a whole number.
    pub(super) fn draw_whole(self, random: &mut impl Rng) -> usize {
        self.draw(random).round() as usize
    }
}

/// Box and Muller's transform: two uniform numbers make a normal one. `1 - u` is never zero.
fn standard_normal(random: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    #[test]
    fn median_and_spread_are_those_asked_for() {
        let length = Length { median: 100.0, sigma: 0.5, min: 1.0, max: 1e6 };
        let mut random = StdRng::seed_from_u64(3);
        let mut values: Vec<f64> = (0..20_000).map(|_| length.draw(&mut random)).collect();
        values.sort_by(f64::total_cmp);
        assert!((values[10_000] / 100.0 - 1.0).abs() < 0.03, "{}", values[10_000]);
        let p90 = 100.0 * (0.5_f64 * 1.2816).exp();
        assert!((values[18_000] / p90 - 1.0).abs() < 0.03, "{}", values[18_000]);
    }
}
