//! By how much the objectives show that the model of need is wrong.
//!
//! The factor goes up with each request that misses its objective and down with each that meets it, in the ratio in which a tenth may
//! miss: it rests where just a tenth do, whatever of engines and traffic the formulas leave out. It moves slowly, within bounds, and
//! not while engines start, whose absence is not the fault of the model.

/// Share of requests that may miss an objective.
const LATE_SHARE: f64 = 0.1;
/// What a request that misses adds to the factor's logarithm.
const STEP: f64 = 0.004;
/// What one interval may change at most.
const CHANGE_MAX: f64 = 0.02;
/// Bounds of the logarithm: three quarters to double.
const LOG_MIN: f64 = -0.288;
const LOG_MAX: f64 = 0.693;

/// The logarithm of the factor.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Correction(f64);

// === impl Correction ===

impl Correction {
    /// Learns from requests of which so many were late.
    #[must_use]
    pub(crate) fn learn(self, requests: f64, late: f64) -> Self {
        let change = STEP * (late - LATE_SHARE * requests);
        if !change.is_finite() {
            return self;
        }
        Self((self.0 + change.clamp(-CHANGE_MAX, CHANGE_MAX)).clamp(LOG_MIN, LOG_MAX))
    }

    /// What the need is multiplied by.
    pub(crate) fn factor(self) -> f64 {
        self.0.exp()
    }
}

#[cfg(test)]
mod tests {
    use super::Correction;

    #[test]
    fn it_rests_where_a_tenth_is_late_and_stays_within_bounds() {
        let after =
            |late: f64| (0..10_000).fold(Correction::default(), |one, _| one.learn(10.0, late)).factor();
        assert!((after(1.0) - 1.0).abs() < 1e-9);
        assert!((after(10.0) - 2.0).abs() < 0.01 && (after(0.0) - 0.75).abs() < 0.01);
        assert_eq!(Correction::default().learn(f64::NAN, 0.0), Correction::default());
    }
}
