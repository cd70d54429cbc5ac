//! How a pool wakes: how long it takes to have an endpoint, what of that has passed, and whether more follow. The controller's scaler
//! knows.
//!
//! The time is for responses that say when to try again. A request that is held needs none of it: it goes on when an endpoint is there,
//! however long that takes, and as quickly as [`super::paced`] allows while more are to come.

use super::{Applied, View};
use crate::time::Timestamp;
use crate::wire::WakeTime;

/// A wake that takes longer than usual is expected to take on for the part of what it has taken that is one in so many: whoever
/// asks for a model that does not come up should ask less and less often.
const OVERDUE_PARTS: u64 = 10;

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wake {
    /// Time that it usually takes, in milliseconds; `None`: not known.
    pub usual_ms: Option<u64>,
    /// When it began; `None`: it does not wake now.
    pub since: Option<Timestamp>,
    /// Whether more engines are about to take its requests.
    pub is_growing: bool,
}

// === impl Wake ===

impl Wake {
    /// When an endpoint is expected, in milliseconds from now; `None`: nobody knows.
    pub fn ready_in_ms(&self, now: Timestamp) -> Option<u64> {
        let passed_ms = self.since.map_or(0, |since| now.ms_since(since));
        Some(self.usual_ms?.saturating_sub(passed_ms).max(passed_ms / OVERDUE_PARTS))
    }

    pub(super) fn export(&self, pool: &str, now: Timestamp) -> WakeTime {
        let passed_ms = self.since.map(|since| now.ms_since(since));
        let (usual_ms, is_growing) = (self.usual_ms.unwrap_or_default(), self.is_growing);
        WakeTime { pool: pool.to_owned(), usual_ms, passed_ms, is_growing }
    }
}

// === impl View ===

impl View {
    pub(super) fn set_wake(&mut self, wake: &WakeTime, now: Timestamp) -> Applied {
        let Some(pool) = self.pools.iter_mut().find(|pool| pool.name() == wake.pool) else {
            return Applied::Unknown;
        };
        let WakeTime { usual_ms, passed_ms, is_growing, .. } = *wake;
        let (usual_ms, since) = ((usual_ms > 0).then_some(usual_ms), passed_ms.map(|ms| now.minus_ms(ms)));
        pool.set_wake((usual_ms.is_some() || is_growing).then_some(Wake { usual_ms, since, is_growing }));
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
        let asleep = Wake { usual_ms: Some(100_000), since: None, is_growing: false };
        assert_eq!(asleep.ready_in_ms(at(500_000)), Some(100_000));
        let wakes = Wake { since: Some(at(500_000)), ..asleep };
        assert_eq!(wakes.ready_in_ms(at(560_000)), Some(40_000));
        assert_eq!(wakes.ready_in_ms(at(600_000)), Some(10_000));
        assert_eq!(wakes.ready_in_ms(at(1_100_000)), Some(60_000));
        assert_eq!(wakes.ready_in_ms(at(400_000)), Some(100_000), "a clock that was set back");
        assert_eq!(Wake { usual_ms: None, ..wakes }.ready_in_ms(at(560_000)), None);
    }
}
