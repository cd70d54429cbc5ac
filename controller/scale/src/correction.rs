//! By how much the objectives show that the model of need is wrong.
//!
//! The factor goes up with each request that misses its objective and down with each that meets it: it rests where a certain share
//! misses, whatever of engines and traffic the formulas leave out. It moves slowly, within bounds, and the less the more engines start,
//! whose absence is not the fault of the model. It does not go up for what more engines do not mend: an objective that a single request
//! misses on an idle engine would otherwise double their number for good.

/// Share of requests that may miss an objective while enough engines are there: less than the tenth that may miss it in all, because
/// of those that come while engines start, more do.
const LATE_SHARE: f64 = 0.06;
/// What a request that misses adds to the factor's logarithm.
const STEP: f64 = 0.004;
/// What may be added, and taken, in the time that an engine takes to start: what is decided now shows only then, and an engine too many
/// is paid for, while one too few is missing until another has started.
const RISE_MAX: f64 = 0.35;
const FALL_MAX: f64 = 0.05;
/// Bounds of the logarithm: half to double.
const LOG_MAX: f64 = std::f64::consts::LN_2;
const LOG_MIN: f64 = -LOG_MAX;

/// What more engines would do for requests that miss their objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum More {
    /// They would be on time.
    Help,
    /// So they would, but there are none to be had, or those that are wanted are not there.
    Missing,
    /// Nothing: no number of engines meets the objective.
    Useless,
}

/// The logarithm of the factor.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Correction(f64);

// === impl Correction ===

impl Correction {
    /// Learns from the requests of an interval, of which so many were late. Its length is given in times that an engine takes to start.
    #[must_use]
    pub(crate) fn learn(self, requests: f64, late: f64, wakes: f64, more: More) -> Self {
        let change = STEP * (late - LATE_SHARE * requests);
        if !(change.is_finite() && wakes.is_finite() && wakes >= 0.0) {
            return self;
        }
        let log = match more {
            More::Missing if change > 0.0 => self.0,
            // What was learned when the objective could be met fades.
            More::Useless if change > 0.0 => self.0.min((self.0 - FALL_MAX * wakes).max(0.0)),
            More::Help | More::Missing | More::Useless => {
                self.0 + change.clamp(-FALL_MAX * wakes, RISE_MAX * wakes)
            }
        };
        Self(log.clamp(LOG_MIN, LOG_MAX))
    }

    /// What the need is multiplied by.
    pub(crate) fn factor(self) -> f64 {
        self.0.exp()
    }
}

#[cfg(test)]
mod tests {
    use super::{Correction, More};

    #[test]
    fn it_rests_where_so_many_are_late_and_stays_within_bounds() {
        let after = |late: f64| {
            (0..10_000).fold(Correction::default(), |one, _| one.learn(10.0, late, 0.02, More::Help)).factor()
        };
        assert!((after(0.6) - 1.0).abs() < 1e-9);
        assert!((after(10.0) - 2.0).abs() < 0.01 && (after(0.0) - 0.5).abs() < 0.01);
        assert_eq!(Correction::default().learn(f64::NAN, 0.0, 1.0, More::Help), Correction::default());
    }

    #[test]
    fn what_more_engines_do_not_mend_asks_for_none() {
        let doubled =
            (0..1_000).fold(Correction::default(), |one, _| one.learn(10.0, 10.0, 0.02, More::Help));
        let after = |from: Correction, more| {
            (0..10_000).fold(from, |one, _| one.learn(10.0, 10.0, 0.02, more)).factor()
        };
        assert!((after(Correction::default(), More::Missing) - 1.0).abs() < 1e-9);
        assert!(
            (after(doubled, More::Missing) - 2.0).abs() < 0.01,
            "they would help as soon as they are there"
        );
        assert!((after(Correction::default(), More::Useless) - 1.0).abs() < 1e-9);
        assert!((after(doubled, More::Useless) - 1.0).abs() < 1e-9);
    }
}
