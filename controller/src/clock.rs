//! The controller's clock: the time since the process started, the only time that the view uses.
//!
//! It does not start at zero, because what proxies publish has ages: a request that has waited for minutes when the controller
//! starts began to wait before.

use std::time::Instant;
use warmpath_core::time::Timestamp;

/// The time at which a clock is created: a day, longer than the age of anything that is published.
const START: Timestamp = Timestamp::from_ms(24 * 60 * 60 * 1_000);

/// Waits until a time; for ever where there is none.
pub(crate) async fn until(time: Option<tokio::time::Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

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
    /// The time now.
    pub fn now(&self) -> Timestamp {
        let elapsed_us = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        Timestamp::from_us(START.us().saturating_add(elapsed_us))
    }

    /// How long before `now` a clock was created, in milliseconds.
    pub fn uptime_ms(now: Timestamp) -> u64 {
        now.ms_since(START)
    }
}
