//! The simulator's seconds as the wall clock that routers and the controller are given.

use warmpath_core::num::{count, float};
use warmpath_core::time::Timestamp;

const US_PER_S: f64 = 1e6;
/// The wall clock at second 0 of a run. Far from the epoch: the core takes that as "never".
pub(super) const SECOND_ZERO: Timestamp = Timestamp::from_ms(1_000_000_000);

/// The wall clock at a second of the run.
pub(super) fn wall_clock(now_s: f64) -> Timestamp {
    after(SECOND_ZERO, now_s)
}

/// The second of the run at a time; before second 0, second 0.
pub(super) fn second(at: Timestamp) -> f64 {
    float(at.us_since(SECOND_ZERO)) / US_PER_S
}

/// So many seconds later.
pub(super) fn after(at: Timestamp, seconds: f64) -> Timestamp {
    Timestamp::from_us(at.us() + count(seconds * US_PER_S))
}
