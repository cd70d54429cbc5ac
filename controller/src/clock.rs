//! The controller's clock: the time since the process started, the only time that the view uses.

use std::time::Instant;
use warmpath_core::time::Timestamp;

/// A monotonic clock; its copies agree.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

// === impl Clock ===

impl Default for Clock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock {
    /// The time since the clock was created.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_us(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}
