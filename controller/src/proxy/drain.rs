//! `warmpath proxy drain`: lets the requests of an Envoy that is to stop come to their end.
//!
//! Envoy itself stops at once on SIGTERM and cuts its streams. From the moment of the drain it fails its readiness and closes
//! each connection with the next response (HTTP/2: GOAWAY), and still takes requests: for some seconds clients and
//! load balancers do not know that it leaves.

use super::Admin;
use crate::web::WebError;
use http::Method;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Requests that run in the listener for clients.
const ACTIVE: &str = "http.gateway.downstream_rq_active";
/// How often they are counted.
const INTERVAL: Duration = Duration::from_millis(250);

/// Drains, and returns the number of requests that still ran at the end: 0 unless `most` has passed. It takes `least` in any
/// case: until then, new requests may come.
pub async fn drain(admin: &Admin, least: Duration, most: Duration) -> Result<u64, WebError> {
    let start = Instant::now();
    admin.page(Method::POST, "/healthcheck/fail").await?;
    loop {
        let active = admin.stat(ACTIVE).await?.unwrap_or_default();
        let elapsed = start.elapsed();
        if (active == 0 && elapsed >= least) || elapsed >= most {
            return Ok(active);
        }
        sleep(INTERVAL).await;
    }
}
