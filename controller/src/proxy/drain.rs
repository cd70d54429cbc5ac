//! `warmpath proxy drain`: lets an Envoy that is about to stop finish its requests.
//!
//! On SIGTERM, Envoy stops at once and cuts its streams. While it drains, it fails its readiness and closes each connection with
//! the next response (HTTP/2: GOAWAY), but still accepts requests: for some seconds, clients and load balancers do not know that
//! it is leaving.

use super::Admin;
use crate::web::WebError;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Requests in flight on the listener for clients.
const ACTIVE: &str = "http.gateway.downstream_rq_active";
/// Time between two counts.
const INTERVAL: Duration = Duration::from_millis(250);

/// Drains, and returns the number of requests that still ran at the end: 0 unless `most` has passed, `None` if Envoy did not say.
/// It takes at least `least`, because new requests may arrive until then.
pub async fn drain(admin: &Admin, least: Duration, most: Duration) -> Result<Option<u64>, WebError> {
    let start = Instant::now();
    let mut is_draining = false;
    loop {
        let active = match advance(admin, &mut is_draining).await {
            Ok(active) => Some(active),
            // Envoy's main thread is busy, and its requests still run: an error here would end them.
            Err(WebError::Timeout { .. }) => None,
            Err(error) => return Err(error),
        };
        let elapsed = start.elapsed();
        if (active == Some(0) && elapsed >= least) || elapsed >= most {
            return Ok(active);
        }
        sleep(INTERVAL).await;
    }
}

/// Makes Envoy drain, unless it does already, and counts the requests in flight.
async fn advance(admin: &Admin, is_draining: &mut bool) -> Result<u64, WebError> {
    if !*is_draining {
        admin.fail_readiness().await?;
        *is_draining = true;
    }
    Ok(admin.stat(ACTIVE).await?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::{Admin, drain};
    use crate::web::WebError;
    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::{get, post};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;
    use tokio::net::TcpListener;

    /// Serves an admin page whose counts are these, one for each request; `None` is a page that does not come.
    async fn admin(drains: StatusCode, counts: &'static [Option<u64>]) -> Admin {
        let asked = Arc::new(AtomicUsize::new(0));
        let stats = move || {
            let count = counts.get(asked.fetch_add(1, Ordering::Relaxed)).copied().flatten();
            async move {
                match count {
                    Some(count) => format!("http.gateway.downstream_rq_active: {count}\n"),
                    None => std::future::pending().await,
                }
            }
        };
        let fail = move || async move { drains };
        let router = Router::new().route("/healthcheck/fail", post(fail)).route("/stats", get(stats));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Admin::new(&url).with_time_max(Duration::from_millis(100))
    }

    #[tokio::test]
    async fn a_page_that_does_not_come_does_not_end_the_drain() {
        let admin = admin(StatusCode::OK, &[Some(2), None, Some(1), Some(0)]).await;
        let most = Duration::from_mins(1);
        assert_eq!(drain(&admin, Duration::ZERO, most).await.unwrap(), Some(0));
    }

    #[tokio::test]
    async fn an_envoy_that_does_not_drain_or_is_gone_is_an_error() {
        let most = Duration::from_mins(1);
        let refusing = admin(StatusCode::FORBIDDEN, &[Some(0)]).await;
        let refused = drain(&refusing, Duration::ZERO, most).await;
        assert!(matches!(refused, Err(WebError::Refused { .. })), "{refused:?}");
        let gone = drain(&Admin::new("http://127.0.0.1:1"), Duration::ZERO, most).await;
        assert!(matches!(gone, Err(WebError::Unreachable { .. })), "{gone:?}");
    }
}
