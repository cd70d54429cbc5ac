//! How far behind an engine its messages come.
//!
//! A connection that cannot keep up delivers every message, each later than the one before, and no number is missing until
//! the engine's own buffer is full. Each message says when it was made, by the engine's clock. The smallest difference to
//! our clock is how the clocks differ, with the shortest time in transit; what comes on top of it is lag.

use warmpath_core::time::Timestamp;
use warmpath_core::view::REPORT_MS_MAX;

/// How long the smallest difference counts. Clocks are set: one that was set back looks like lag for twice that long.
const WINDOW_MS: u64 = 60_000;

/// How late messages may come before what they report is not relied on: proxies expect for as long that a prompt which was computed is
/// there. Later, one that is not reported yet would count as gone.
pub const LAG_MS_MAX: u64 = REPORT_MS_MAX;
/// How late at most once it is relied on again.
const LAG_MS_OVER: u64 = 500;

/// The differences between an engine's clock and ours.
#[derive(Debug, Default)]
pub(super) struct Lag {
    /// The smallest one of this window, and of the one before.
    smallest: [Option<i64>; 2],
    since: Option<Timestamp>,
    is_late: bool,
}

// === impl Lag ===

impl Lag {
    /// Whether messages come too late.
    pub(super) fn is_late(&self) -> bool {
        self.is_late
    }

    /// Takes when a message was made, in milliseconds by the engine's clock. Returns how late it came.
    pub(super) fn note(&mut self, made_ms: i64, now: Timestamp) -> u64 {
        let lag = self.of(made_ms, now);
        self.is_late = lag > if self.is_late { LAG_MS_OVER } else { LAG_MS_MAX };
        lag
    }

    fn of(&mut self, made_ms: i64, now: Timestamp) -> u64 {
        let since = *self.since.get_or_insert(now);
        if now.ms_since(since) >= WINDOW_MS {
            let [this, _] = self.smallest;
            self.smallest = [None, this];
            self.since = Some(now);
        }
        let difference = i64::try_from(now.ms()).unwrap_or(i64::MAX).saturating_sub(made_ms);
        let [this, before] = &mut self.smallest;
        let smallest = this.map_or(difference, |smallest| smallest.min(difference));
        *this = Some(smallest);
        let smallest = before.map_or(smallest, |before| before.min(smallest));
        difference.saturating_sub(smallest).unsigned_abs()
    }
}

#[cfg(test)]
mod tests {
    use super::{Lag, WINDOW_MS};
    use warmpath_core::time::Timestamp;

    #[test]
    fn clocks_that_differ_are_no_lag() {
        let mut lag = Lag::default();
        let mut of = |made_ms, now_ms| lag.of(made_ms, Timestamp::from_ms(now_ms));
        assert_eq!(of(1_000_000, 500), 0);
        assert_eq!(of(1_000_100, 605), 5);
        assert_eq!(of(1_000_200, 3_700), 3_000, "made 100 ms later, came 3 s later");
        assert_eq!(of(1_003_300, 3_800), 0);
    }

    #[test]
    fn a_clock_that_was_set_back_is_lag_for_two_windows_only() {
        let mut lag = Lag::default();
        let mut of = |made_ms, now_ms| lag.of(made_ms, Timestamp::from_ms(now_ms));
        of(1_000_000, 0);
        assert_eq!(of(900_000, 0), 100_000);
        of(900_000 + i64::try_from(WINDOW_MS).unwrap(), WINDOW_MS);
        assert_eq!(of(900_000 + 2 * i64::try_from(WINDOW_MS).unwrap(), 2 * WINDOW_MS), 0);
    }
}
