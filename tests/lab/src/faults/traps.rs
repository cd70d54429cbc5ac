//! Sixteen workers, and the VM of one of them traps every five seconds. Requests under way in that VM end with it, which
//! nobody could prevent; so this worker gets only the request that traps and those after it was built anew, and all others
//! get traffic all the time.

use super::setting::spec;
use super::traffic::{End, Heard, Traffic, body, talk_on};
use super::verdict::Verdict;
use crate::client::path;
use crate::cluster::{Cluster, Spec};
use anyhow::{Context, ensure};
use http::{Method, StatusCode};
use std::time::Duration;
use tokio::time::sleep;
use warmpath_engine::api::Protocol;
use warmpath_http::JSON;

/// Worker threads of the one Envoy.
const WORKERS: usize = 16;
/// Which of them traps.
const TRAPPED: usize = 0;
/// From one trap to the next.
const INTERVAL: Duration = Duration::from_secs(5);
const TRAPS: u32 = 5;
/// Envoy builds a VM anew with the first request after this (`base_interval` in envoy.yaml, and something for its jitter).
const BACK_OFF: Duration = Duration::from_millis(600);
/// Requests to the worker whose VM was built anew.
const AFTER: usize = 10;

/// Makes the faulty build trap.
const TRAP: (&str, &str) = ("x-warmpath-test-trap", "1");

pub(super) async fn play() -> anyhow::Result<Verdict> {
    let cluster = Cluster::start(&Spec { workers: WORKERS as u32, is_faulty: true, ..spec() }).await?;
    let envoy = cluster.envoys().first().context("there is no envoy")?;
    let mut connections = envoy.connection_of_each_worker(WORKERS).await?;
    let mut worker = connections.remove(TRAPPED);
    let traffic = Traffic::on_connections(connections, 6);
    let mut rebuilt = Heard::default();
    for number in 0..TRAPS {
        sleep(INTERVAL).await;
        let trapped = worker
            .send(Method::POST, path(Protocol::Chat), &[JSON, TRAP], body(u64::from(number), 1).into())
            .await;
        let status = trapped.map(|response| response.status);
        ensure!(
            !matches!(status, Ok(StatusCode::OK)),
            "the filter does not trap: WARMPATH_WASM_FAULTY is not the faulty build"
        );
        sleep(BACK_OFF).await;
        worker = envoy.connection_of_each_worker(WORKERS).await?.swap_remove(TRAPPED);
        let (heard, back) = talk_on(worker, 1_000 + u64::from(number), &End::Count(AFTER)).await;
        rebuilt.add(heard);
        worker = back.context("the worker whose VM was built anew closes its connection")?;
    }
    let mut heard = traffic.finish().await?;
    heard.add(rebuilt);
    let reloads = envoy.admin().stat("wasm.warmpath.router.vm_reload_success").await?;
    cluster.shutdown().await;
    let note = format!(
        "{WORKERS} workers, the VM of one trapped {TRAPS} times, every {} s, and was built anew {reloads} times; the requests that \
         trap are not counted",
        INTERVAL.as_secs()
    );
    let wrong = (reloads < u64::from(TRAPS)).then(|| "a VM was not built anew".to_owned());
    Ok(Verdict { wrong, ..Verdict::new("traps", heard, note) })
}
