//! How long a pool without endpoints takes to have one: what the controller's scaler has learned, and what of it has passed.
//!
//! For responses that say when to try again. A request that is held needs none of it: it goes on when an endpoint is there, however
//! long that takes.

use super::{Applied, View};
use crate::time::Timestamp;
use crate::wire::WakeTime;

/// A wake that takes longer than usual is expected to take on for the part of what it has taken that is one in so many: whoever
/// asks for a model that does not come up should ask less and less often.
const OVERDUE_PARTS: u64 = 10;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wake {
    /// Time that it usually takes, in milliseconds.
    pub usual_ms: u64,
    /// When it began; `None`: it does not wake now.
    pub since: Option<Timestamp>,
}

// === impl Wake ===

impl Wake {
    /// When an endpoint is expected, in milliseconds from now.
    pub fn ready_in_ms(&self, now: Timestamp) -> u64 {
        let passed_ms = self.since.map_or(0, |since| now.ms_since(since));
        self.usual_ms.saturating_sub(passed_ms).max(passed_ms / OVERDUE_PARTS)
    }

    pub(super) fn export(&self, pool: &str, now: Timestamp) -> WakeTime {
        let passed_ms = self.since.map(|since| now.ms_since(since));
        WakeTime { pool: pool.to_owned(), usual_ms: self.usual_ms, passed_ms }
    }
}

// === impl View ===

impl View {
    pub(super) fn set_wake(&mut self, wake: &WakeTime, now: Timestamp) -> Applied {
        let Some(pool) = self.pools.iter_mut().find(|pool| pool.name() == wake.pool) else {
            return Applied::Unknown;
        };
        let since = wake.passed_ms.map(|passed_ms| now.minus_ms(passed_ms));
        pool.set_wake((wake.usual_ms > 0).then_some(Wake { usual_ms: wake.usual_ms, since }));
        Applied::Changed
    }
}

#[cfg(test)]
mod tests {
    use super::Wake;
    use crate::time::Timestamp;

    #[test]
    fn what_has_passed_is_subtracted_and_what_is_overdue_is_asked_for_less_and_less() {
        let at = Timestamp::from_ms;
        let asleep = Wake { usual_ms: 100_000, since: None };
        assert_eq!(asleep.ready_in_ms(at(500_000)), 100_000);
        let wakes = Wake { since: Some(at(500_000)), ..asleep };
        assert_eq!(wakes.ready_in_ms(at(560_000)), 40_000);
        assert_eq!(wakes.ready_in_ms(at(600_000)), 10_000);
        assert_eq!(wakes.ready_in_ms(at(1_100_000)), 60_000);
        assert_eq!(wakes.ready_in_ms(at(400_000)), 100_000, "a clock that was set back");
    }
}
