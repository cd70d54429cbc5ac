//! When a ModelService that could not be carried out is tried again. Pure: time is an argument.

use std::time::Duration;
use tokio::time::Instant;

/// The first wait after a failure that may pass by itself, and the longest.
const AWAY_FIRST: Duration = Duration::from_secs(1);
const AWAY_MAX: Duration = Duration::from_secs(30);
/// The first wait after a refusal, which only people mend, and the longest: it may be mended elsewhere, as a quota is.
const REFUSED_FIRST: Duration = Duration::from_secs(5);
const REFUSED_MAX: Duration = Duration::from_mins(5);

/// Failures in a row, and the next try.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Retry {
    failures: u32,
    /// The next try; `None`: only after a change.
    pub(super) due: Option<Instant>,
}

// === impl Retry ===

impl Retry {
    /// Takes note of a try: which failures there were.
    #[must_use]
    pub(super) fn after(self, is_away: bool, is_refused: bool, now: Instant) -> Self {
        let (first, max) = match (is_away, is_refused) {
            (false, false) => return Self::default(),
            (true, _) => (AWAY_FIRST, AWAY_MAX),
            (false, true) => (REFUSED_FIRST, REFUSED_MAX),
        };
        let wait = first.saturating_mul(2_u32.saturating_pow(self.failures.min(16))).min(max);
        Self { failures: self.failures.saturating_add(1), due: Some(now + wait) }
    }

    /// How often it has failed in a row.
    pub(super) fn failures(self) -> u32 {
        self.failures
    }

    /// Whether it must wait.
    pub(super) fn waits(self, now: Instant) -> bool {
        self.due.is_some_and(|due| now < due)
    }
}

#[cfg(test)]
mod tests {
    use super::{AWAY_FIRST, AWAY_MAX, REFUSED_FIRST, REFUSED_MAX, Retry};
    use tokio::time::Instant;

    #[test]
    fn waits_double_up_to_a_bound_and_end_with_a_success() {
        let now = Instant::now();
        let mut retry = Retry::default();
        assert!(!retry.waits(now));
        for expected in [AWAY_FIRST, 2 * AWAY_FIRST, 4 * AWAY_FIRST] {
            retry = retry.after(true, false, now);
            assert_eq!(retry.due, Some(now + expected));
            assert!(retry.waits(now) && !retry.waits(now + expected));
        }
        for _ in 0..20 {
            retry = retry.after(true, true, now);
        }
        assert_eq!(retry.due, Some(now + AWAY_MAX));
        assert_eq!(retry.after(false, true, now).due, Some(now + REFUSED_MAX));
        assert_eq!(retry.after(false, false, now).due, None);
        assert_eq!(Retry::default().after(false, true, now).due, Some(now + REFUSED_FIRST));
    }
}
