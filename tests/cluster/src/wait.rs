//! Waiting for a condition, with a deadline: the only way that tests here wait.

use anyhow::bail;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a condition may take. Generous: it is reached only by a failure, never by a slow machine.
pub const DEADLINE: Duration = Duration::from_mins(2);

/// The pause between two looks at a condition. Each may be a call of the API server, which has two slow cores.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Calls `probe` until it returns `Some`, and returns that.
pub async fn until<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> anyhow::Result<T> {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = probe().await {
            return Ok(found);
        }
        if Instant::now() >= end {
            bail!("waited {} s in vain for {what}", DEADLINE.as_secs());
        }
        sleep(POLL_INTERVAL).await;
    }
}
