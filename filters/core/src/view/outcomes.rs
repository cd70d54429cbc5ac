//! What an endpoint's requests came to, and whether it is the endpoint's fault.
//!
//! An engine that fails fast is always idle, so a rule that looks at load alone sends it everything. But a client can
//! make any engine respond with 404 or 500, and must not be able to take engines out of service. So an endpoint is
//! judged against the others of its pool: what happens there and not elsewhere is its own fault.

use crate::time::Timestamp;

/// Length of a window, in milliseconds; the current one and the one before it count.
const WINDOW_MS: u64 = 30_000;
/// Bad outcomes in a row before an endpoint is judged: one is chance.
const STREAK_MIN: u32 = 2;
/// How many times as many bad outcomes as the middle one of the others it must have.
const WORSE_FACTOR: u32 = 10;
/// Bad outcomes in a row, with no good one in the window, that need no comparison but one other that serves: where most of
/// a pool fails, the middle one of the others fails as well.
const STREAK_HOPELESS: u32 = 8;
/// Other endpoints that are compared with.
const OTHERS_MAX: usize = 64;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcomes {
    window: u64,
    current: Counts,
    before: Counts,
    /// Bad outcomes since the last good one.
    streak: u32,
}

/// Outcomes of one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) good: u32,
    pub(super) bad: u32,
}

// === impl Outcomes ===

impl Outcomes {
    /// Notes a first token.
    pub(super) fn note_good(&mut self, now: Timestamp) {
        self.turn_to(now);
        self.current.good = self.current.good.saturating_add(1);
        self.streak = 0;
    }

    /// Notes an outcome that may be the endpoint's fault.
    pub(super) fn note_bad(&mut self, now: Timestamp) {
        self.turn_to(now);
        self.current.bad = self.current.bad.saturating_add(1);
        self.streak = self.streak.saturating_add(1);
    }

    /// Outcomes of about the last minute.
    pub(super) fn recent(&self, now: Timestamp) -> Counts {
        let mut at = *self;
        at.turn_to(now);
        Counts {
            good: at.current.good.saturating_add(at.before.good),
            bad: at.current.bad.saturating_add(at.before.bad),
        }
    }

    /// Whether its bad outcomes are its own fault, given those of the `others` of its pool.
    pub(super) fn is_worse<'a>(&self, others: impl Iterator<Item = &'a Self>, now: Timestamp) -> bool {
        let own = self.recent(now);
        let mut others: Vec<Counts> = others.take(OTHERS_MAX).map(|other| other.recent(now)).collect();
        let serves_elsewhere = others.iter().any(|other| other.good > 0);
        if self.streak >= STREAK_HOPELESS && own.good == 0 && serves_elsewhere {
            return true;
        }
        if self.streak < STREAK_MIN || others.is_empty() {
            return false;
        }
        // The middle one, and the better one of two: where half of a pool fails, the other half is what to compare with.
        let middle = (others.len() - 1) / 2;
        let (_, middle, _) = others.select_nth_unstable_by_key(middle, |other| other.bad);
        own.bad >= middle.bad.saturating_mul(WORSE_FACTOR)
    }

    fn turn_to(&mut self, now: Timestamp) {
        let window = now.ms() / WINDOW_MS;
        if window == self.window {
            return;
        }
        let before = if window == self.window + 1 { self.current } else { Counts::default() };
        *self = Self { window, current: Counts::default(), before, streak: self.streak };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(good: u32, bad: u32) -> Outcomes {
        let mut outcomes = Outcomes::default();
        (0..good).for_each(|_| outcomes.note_good(Timestamp::ZERO));
        (0..bad).for_each(|_| outcomes.note_bad(Timestamp::ZERO));
        outcomes
    }

    fn is_worse(own: Outcomes, others: &[Outcomes]) -> bool {
        own.is_worse(others.iter(), Timestamp::ZERO)
    }

    #[test]
    fn one_that_fails_alone_is_judged_at_the_second_failure() {
        let healthy = [outcomes(50, 0); 7];
        assert!(!is_worse(outcomes(50, 1), &healthy));
        assert!(is_worse(outcomes(50, 2), &healthy));
        assert!(is_worse(outcomes(0, 2), &[outcomes(0, 0)]), "nobody else has served yet");
    }

    #[test]
    fn a_client_whose_requests_fail_everywhere_takes_no_endpoint_out() {
        let others = [outcomes(50, 2); 7];
        assert!(!is_worse(outcomes(50, 4), &others));
        assert!(!is_worse(outcomes(0, 5), &[]), "there is nothing to compare with");
    }

    #[test]
    fn half_of_a_pool_may_fail_at_once_and_even_most_of_it() {
        let half = [
            outcomes(0, 9),
            outcomes(0, 9),
            outcomes(0, 9),
            outcomes(50, 0),
            outcomes(50, 0),
            outcomes(50, 0),
            outcomes(50, 0),
        ];
        assert!(is_worse(outcomes(0, 2), &half));
        assert!(is_worse(outcomes(0, 9), &[outcomes(0, 9), outcomes(0, 9), outcomes(3, 0)]));
        assert!(!is_worse(outcomes(0, 9), &[outcomes(0, 9), outcomes(0, 9)]), "all fail alike");
    }

    #[test]
    fn what_happened_is_forgotten_after_two_windows() {
        let outcomes = outcomes(3, 4);
        assert_eq!(outcomes.recent(Timestamp::from_ms(WINDOW_MS)), Counts { good: 3, bad: 4 });
        assert_eq!(outcomes.recent(Timestamp::from_ms(2 * WINDOW_MS)), Counts::default());
    }
}
