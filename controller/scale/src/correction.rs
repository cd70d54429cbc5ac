//! By how much the objectives show that the model of need is wrong.
//!
//! The factor goes up while more of the requests miss their objective than may, and down while fewer do, in proportion to the difference:
//! it rests where that share misses, whatever of engines and traffic the formulas leave out. It moves slowly, within bounds, and the less
//! the more engines start, whose absence is not the fault of the model. It does not go up for what more engines do not mend: an objective
//! that a single request misses on an idle engine would otherwise double their number for good.
//!
//! A step for each request that misses would be simpler, and swing: a pool that lacks one engine misses the objective for all requests at
//! once, and a factor that follows them has risen by half before the first engine has started.

/// Share of requests that may miss an objective while enough engines are there: half of the tenth that may miss it in all, because
/// of those that come while engines start, more do.
const LATE_SHARE: f64 = 0.05;
/// What the factor's logarithm rises by in the time that an engine takes to start, if all requests miss the objective: less than what
/// distinguishes one engine of five, because what is decided now shows only then.
const GAIN: f64 = 0.2;
/// By how much it fades in that time while no number of engines meets the objective.
const FADE: f64 = 0.05;
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
    /// Learns from the requests of an interval, of which so many were late. Its length is given in times that an engine takes to start;
    /// of one that is longer, as much is learned as in one such time. `weight` is what the interval says of enough engines, from 0 to 1.
    #[must_use]
    pub(crate) fn learn(self, requests: f64, late: f64, weight: f64, wakes: f64, more: More) -> Self {
        if !(requests > 0.0 && wakes >= 0.0) {
            return self;
        }
        let wakes = wakes.min(1.0);
        let change = GAIN * weight * wakes * (late / requests - LATE_SHARE);
        if !change.is_finite() {
            return self;
        }
        let log = match more {
            More::Missing if change > 0.0 => self.0,
            // What was learned when the objective could be met fades.
            More::Useless if change > 0.0 => self.0.min((self.0 - FADE * wakes).max(0.0)),
            More::Help | More::Missing | More::Useless => self.0 + change,
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

    fn learned(from: Correction, late: f64, more: More) -> Correction {
        (0..10_000).fold(from, |one, _| one.learn(10.0, late, 1.0, 0.02, more))
    }

    #[test]
    fn it_rests_where_so_many_are_late_and_stays_within_bounds() {
        let after = |late: f64| learned(Correction::default(), late, More::Help).factor();
        assert!((after(0.5) - 1.0).abs() < 1e-9);
        assert!((after(10.0) - 2.0).abs() < 0.01 && (after(0.0) - 0.5).abs() < 0.01);
        let odd = |requests, wakes| Correction::default().learn(requests, 0.0, 1.0, wakes, More::Help);
        assert_eq!((odd(f64::NAN, 1.0), odd(0.0, 1.0)), (Correction::default(), Correction::default()));
        assert_eq!(odd(1.0, f64::NAN), Correction::default());
    }

    /// The factor rose by half within one start: twice the engines came that were missing, went, and were missing again.
    #[test]
    fn a_start_in_which_everything_is_late_changes_the_need_by_less_than_one_engine_in_four() {
        let start =
            (0..60).fold(Correction::default(), |one, _| one.learn(60.0, 60.0, 1.0, 1.0 / 60.0, More::Help));
        assert!((1.1..1.25).contains(&start.factor()), "{}", start.factor());
        let long = Correction::default().learn(60.0, 60.0, 1.0, 1e3, More::Help);
        assert!((long.factor() - start.factor()).abs() < 1e-9, "a long interval says no more");
        let missing = Correction::default().learn(60.0, 60.0, 0.0, 1.0, More::Help);
        assert_eq!(missing, Correction::default(), "nor does one in which all engines start");
    }

    #[test]
    fn what_more_engines_do_not_mend_asks_for_none() {
        let doubled = learned(Correction::default(), 10.0, More::Help);
        let after = |from: Correction, more| learned(from, 10.0, more).factor();
        assert!((after(Correction::default(), More::Missing) - 1.0).abs() < 1e-9);
        assert!(
            (after(doubled, More::Missing) - 2.0).abs() < 0.01,
            "they would help as soon as they are there"
        );
        assert!((after(Correction::default(), More::Useless) - 1.0).abs() < 1e-9);
        assert!((after(doubled, More::Useless) - 1.0).abs() < 1e-9);
    }
}
