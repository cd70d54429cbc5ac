//! One engine of eight fails in one way, from the start on, while its metrics say that it is well.

use super::Scenario;
use super::setting::{ENGINES, spec};
use super::traffic::{PATIENCE, Traffic};
use super::verdict::Verdict;
use crate::cluster::{Cluster, Spec, engine_name};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};
use warmpath_engine::Fault;

/// How long it is played at least.
const TIME: Duration = Duration::from_secs(10);
/// How fast the engine fails.
const AFTER_MS: u64 = 3;
/// Those that meet the engine before it is known, and the trickle by which it may prove itself.
const LOST_SHARE_MAX: f64 = 0.01;

pub(super) async fn play(scenario: Scenario) -> anyhow::Result<Verdict> {
    let every = NonZeroU32::MIN;
    let status = |code| Fault::Status { code, count: None, after_ms: AFTER_MS, every };
    let (fault, what) = match scenario {
        Scenario::Silent => (Fault::Silent { count: None, every }, "never responds".to_owned()),
        Scenario::Missing => (status(404), format!("responds 404 in {AFTER_MS} ms")),
        Scenario::Empty => {
            let empty = Fault::Empty { count: None, after_ms: AFTER_MS, every };
            (empty, format!("responds 200 and no token in {AFTER_MS} ms"))
        }
        _ => (status(500), format!("responds 500 in {AFTER_MS} ms")),
    };
    let cluster = Cluster::start(&Spec { faults: vec![fault], ..spec() }).await?;
    let begun = Instant::now();
    let mut traffic = Traffic::start(cluster.gateway()?, 5);
    traffic.go_on(TIME, 1_500).await?;
    let heard = traffic.finish().await?;
    let met = cluster.engines().first().map_or(0, |engine| engine.state().faulted);
    cluster.shutdown().await;
    let served =
        heard.by_engine(begun, Instant::now()).into_keys().filter(|name| *name != engine_name(0)).count();
    let note = format!(
        "one of {ENGINES} engines {what}: {met} requests met it, in {} s; {served} engines served; a client gives up after {} s",
        begun.elapsed().as_secs(),
        PATIENCE.as_secs(),
    );
    Ok(Verdict { lost_share_max: LOST_SHARE_MAX, ..Verdict::new(scenario.name(), heard, note) })
}
