//! All scrapes fail, each in the way of its engine, while requests run and again after a pause; the engines are well.

use super::setting::{fault_all, spec};
use super::traffic::Traffic;
use super::verdict::Verdict;
use crate::args::FaultsArgs;
use crate::cluster::Cluster;
use std::time::Duration;
use tokio::time::sleep;
use warmpath_engine::{Fault, Scrape};

/// With working scrapes, before and after.
const USUAL: Duration = Duration::from_secs(3);
/// How long scrapes fail under load.
const FAILING: Duration = Duration::from_mins(1);
/// Without any request, longer than anything that a router remembers of engines.
const PAUSE: Duration = Duration::from_secs(15);
/// Under load after the pause, while scrapes go on failing.
const AFTER_PAUSE: Duration = Duration::from_secs(5);

pub(super) async fn play(_: &FaultsArgs) -> anyhow::Result<Verdict> {
    let cluster = Cluster::start(&spec()).await?;
    let gateway = cluster.gateway()?;
    let mut traffic = Traffic::start(gateway, 1);
    traffic.go_on(USUAL, 0).await?;
    let ways = [
        Scrape::Status { code: 500 },
        Scrape::Cut,
        Scrape::Late { ms: 10_000 },
        Scrape::Status { code: 404 },
    ];
    for (engine, way) in cluster.engines().iter().zip(ways.into_iter().cycle()) {
        engine.fault(Fault::Scrape(way)).await;
    }
    traffic.go_on(FAILING, 1_000).await?;
    let mut heard = traffic.finish().await?;
    sleep(PAUSE).await;
    let mut traffic = Traffic::start(gateway, 2);
    traffic.go_on(AFTER_PAUSE, 0).await?;
    fault_all(&cluster, &Fault::Clear).await;
    traffic.go_on(USUAL, 0).await?;
    heard.add(traffic.finish().await?);
    cluster.shutdown().await;
    let note = format!(
        "all scrapes fail (500, cut, late, 404) for {} s under load, then {} s without requests, then {} s under load",
        FAILING.as_secs(),
        PAUSE.as_secs(),
        AFTER_PAUSE.as_secs()
    );
    Ok(Verdict::new("scrapes", heard, note))
}
