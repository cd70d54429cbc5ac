//! The controller goes away while it reports half of the engines as busy, and stays away. The work that made them busy is
//! not the proxy's own and ends with the controller, so nobody says that they are free again.

use super::setting::{ENGINES, spec};
use super::traffic::{Traffic, body};
use super::verdict::Verdict;
use crate::args::FaultsArgs;
use crate::client::path;
use crate::cluster::{Cluster, engine_name};
use anyhow::Context;
use http::Method;
use std::time::{Duration, Instant};
use warmpath_engine::api::Protocol;
use warmpath_envoy::until;
use warmpath_http::{Connection, JSON, Streaming};

/// With a controller, before and after.
const USUAL: Duration = Duration::from_secs(3);
/// How long it is gone.
const GONE: Duration = Duration::from_secs(45);
const GONE_IN_FULL: Duration = Duration::from_mins(10);
/// From when on every engine has to be used again.
const GRACE: Duration = Duration::from_secs(15);
/// What every engine has to get then, of an even share.
const SHARE_MIN: f64 = 0.3;
/// Requests that make an engine busy.
const BUSY: usize = 64;
/// Length of their responses: they end with their connection.
const ENDLESS_TOKENS: usize = 30_000;

pub(super) async fn play(args: &FaultsArgs) -> anyhow::Result<Verdict> {
    let gone = if args.full { GONE_IN_FULL } else { GONE };
    let mut cluster = Cluster::start(&spec()).await?;
    let mut traffic = Traffic::start(cluster.gateway()?, 3);
    traffic.go_on(USUAL, 0).await?;
    let busy = make_busy(&cluster).await?;
    traffic.go_on(USUAL, 0).await?;
    cluster.stop_controller().await;
    let gone_at = Instant::now();
    drop(busy);
    traffic.go_on(gone, 1_000).await?;
    let back_at = Instant::now();
    cluster.start_controller().await?;
    traffic.go_on(USUAL, 0).await?;
    let heard = traffic.finish().await?;
    cluster.shutdown().await;
    let used = heard.by_engine(gone_at + GRACE, back_at);
    let enough = (used.values().sum::<usize>() as f64 / ENGINES as f64 * SHARE_MIN) as usize;
    let count = |name: &str| used.get(name).copied().unwrap_or_default();
    let names = (0..ENGINES).map(engine_name);
    let avoided: Vec<_> = names.clone().filter(|name| count(name) < enough).collect();
    let shares: Vec<_> = names.map(|name| count(&name).to_string()).collect();
    let shortened = if args.full { "" } else { ", not the 600 s of --full" };
    let note = format!(
        "controller gone for {} s{shortened} while {} of {ENGINES} engines were busy; requests of each engine from {} s after that: {}; \
         found again while it was gone: {:.2}",
        gone.as_secs(),
        ENGINES / 2,
        GRACE.as_secs(),
        shares.join(" "),
        heard.found_again(gone_at, back_at),
    );
    let wrong = (!avoided.is_empty()).then(|| format!("still avoided: {}", avoided.join(", ")));
    Ok(Verdict { wrong, ..Verdict::new("controller", heard, note) })
}

/// Gives half of the engines work past the proxy, and waits until they have it. The work ends with what is returned.
async fn make_busy(cluster: &Cluster) -> anyhow::Result<Vec<(Connection, Streaming)>> {
    let mut open = Vec::new();
    for (number, engine) in cluster.engines().iter().enumerate().take(ENGINES / 2) {
        for request in 0..BUSY {
            let mut connection = Connection::open(engine.addr()).await?;
            let body = body((number * BUSY + request) as u64, ENDLESS_TOKENS);
            let stream = connection.stream(Method::POST, path(Protocol::Chat), &[JSON], body.into()).await?;
            open.push((connection, stream));
        }
        until("the engine to be busy", async || (engine.state().running >= BUSY / 2).then_some(()))
            .await
            .context("the engine ends its work too early")?;
    }
    Ok(open)
}
