//! vLLM's sleep mode over HTTP: the endpoints of `VLLM_SERVER_DEV_MODE`.
//!
//! Levels differ in what wakes them: the weights of level 1 are in the host's memory; those of level 2 are gone, and are loaded again
//! between the memory for them and that of the cache, so that `/is_sleeping` says no only when all is there.

use crate::telemetry::Reading;
use crate::web::{self, Bounds};
use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use http::{Method, Request, header};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

/// A question, and the time for its response.
pub(super) const ASK: Bounds = Bounds { time_max: Duration::from_secs(5), bytes_max: 64 * 1024 };
/// A page of metrics.
const METRICS: Bounds = Bounds { time_max: Duration::from_secs(5), bytes_max: 16 * 1024 * 1024 };
/// To copy weights into the host's memory.
const SLEEP: Bounds = Bounds { time_max: Duration::from_mins(2), bytes_max: 64 * 1024 };
/// To load them again, at level 2 from where the model comes from.
const WAKE: Bounds = Bounds { time_max: Duration::from_mins(10), bytes_max: 64 * 1024 };

#[derive(Debug, Deserialize)]
struct IsSleeping {
    is_sleeping: bool,
}

/// Does the same to all engines of a pod at once. What was sent to one is not taken back when another fails.
pub(super) async fn each<'a, F>(addresses: &'a [String], what: impl Fn(&'a str) -> F) -> Result<(), String>
where
    F: Future<Output = Result<(), String>>,
{
    join_all(addresses.iter().map(|at| what(at))).await.into_iter().collect()
}

/// How many of these engines sleep, at least in part.
pub(super) async fn asleep(addresses: &[String]) -> Result<usize, String> {
    let ask = |at| web::json::<IsSleeping>(at, "/is_sleeping", ASK, "a vLLM in development mode");
    let said = try_join_all(addresses.iter().map(|at| ask(at))).await;
    let said = said.map_err(|error| format!("it does not say whether it sleeps: {error}"))?;
    Ok(said.iter().filter(|it| it.is_sleeping).count())
}

/// Whether none of these engines has requests, as they say.
pub(super) async fn are_idle(addresses: &[String]) -> Result<bool, String> {
    let pages = try_join_all(addresses.iter().map(|at| web::page(at, "/metrics", METRICS))).await;
    let pages = pages.map_err(|error| format!("it does not say whether it has requests: {error}"))?;
    pages.iter().map(|page| is_idle(page)).try_fold(true, |all, one| Ok(all && one?))
}

/// The same of a page. Blocks that are in use without a request are those that somebody else may still read: vLLM would wait for that, and
/// no wake would end its wait.
fn is_idle(page: &[u8]) -> Result<bool, String> {
    let Reading { status, kind, is_cache_used, .. } = Reading::of(page);
    if kind.is_none() {
        return Err(
            "its metrics do not say whether it has requests: start it without --disable-log-stats".to_owned()
        );
    }
    Ok(status.running == 0 && status.waiting == 0 && !is_cache_used)
}

/// Puts an engine to sleep. It has no requests; those that it has all the same, it ends first, or aborts in releases that cannot wait.
pub(super) async fn sleep(at: &str, level: u8) -> Result<(), String> {
    post(at, &format!("/sleep?level={level}&mode=wait"), SLEEP).await
}

/// Wakes an engine that sleeps at this level. One that is awake does nothing, or loads its weights once more.
pub(super) async fn wake(at: &str, level: u8) -> Result<(), String> {
    if level != 2 {
        return post(at, "/wake_up", WAKE).await;
    }
    post(at, "/wake_up?tags=weights", WAKE).await?;
    let url = web::url(at, "/collective_rpc");
    let body = Full::new(Bytes::from(json!({"method": "reload_weights"}).to_string()));
    let request = Request::post(&url).header(header::CONTENT_TYPE, "application/json").body(body);
    let reply = web::send(url, request.map_err(|error| error.to_string())?, WAKE).await;
    accepted(reply)?;
    post(at, "/wake_up?tags=kv_cache", WAKE).await
}

async fn post(at: &str, path: &str, bounds: Bounds) -> Result<(), String> {
    accepted(web::request(Method::POST, at, path, bounds).await)
}

fn accepted(reply: Result<web::Reply, web::WebError>) -> Result<(), String> {
    let reply = reply.map_err(|error| error.to_string())?;
    if reply.status.is_success() {
        return Ok(());
    }
    Err(format!("{}: {}", reply.status, String::from_utf8_lossy(&reply.body)))
}

#[cfg(test)]
mod tests {
    use super::is_idle;

    fn page(running: u32, used: &str) -> String {
        format!(
            "vllm:num_requests_running{{engine=\"0\"}} {running}.0\nvllm:kv_cache_usage_perc{{engine=\"0\"}} {used}\n"
        )
    }

    #[test]
    fn an_engine_whose_cache_is_in_use_is_not_idle_although_it_has_no_request() {
        assert_eq!(is_idle(page(0, "0.0").as_bytes()), Ok(true));
        assert_eq!(is_idle(page(1, "0.3").as_bytes()), Ok(false));
        assert_eq!(is_idle(page(0, "5e-05").as_bytes()), Ok(false), "one block of twenty thousand");
    }

    #[test]
    fn an_engine_without_metrics_does_not_count_as_one_with_requests() {
        let said = is_idle(b"python_info 1.0\n").unwrap_err();
        assert!(said.contains("--disable-log-stats"), "{said}");
    }
}
