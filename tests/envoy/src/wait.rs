//! Waiting for a condition, with a deadline: the only way that tests here wait.
//!
//! A sleep is either too short on a busy machine or too long on an idle one, and says nothing when it fails.

use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a condition may take. Generous: it is reached only by a failure, never by a slow machine: a test of four
/// seconds of processor time has taken half a minute on two cores with 25 threads to run.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// The pause between two looks at a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A condition did not come true within [`DEADLINE`].
#[derive(Debug, thiserror::Error)]
#[error("waited {} s in vain for {what}", DEADLINE.as_secs())]
pub struct DeadlinePassed {
    /// What was waited for, in words.
    pub what: String,
}

/// Asks `probe` until it answers `Some`, and returns that.
pub async fn until<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> Result<T, DeadlinePassed> {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = probe().await {
            return Ok(found);
        }
        if Instant::now() >= end {
            return Err(DeadlinePassed { what: what.to_owned() });
        }
        sleep(POLL_INTERVAL).await;
    }
}
