//! `bench-cluster`: what many pods in many pools cost the controllers, at rest, while pods change, and after a restart.
//!
//! ```text
//!  etcd, API server, ... ─► a hollow node ─► 1,000 pods in 50 InferencePools (objects)
//!                                             └─ their addresses ─► one simulated engine
//!                        └► helm install ─► 2 controllers, 2 Envoys ◄─ process::Meter, the API server's audit log
//! ```
//!
//! The pods are objects without processes: a thousand engines do not fit on one machine. All of their addresses lead to one
//! simulated engine, so that the controllers scrape as many pages, over as many connections, as they would elsewhere.

mod fleet;
mod models;
mod report;
mod scaling;

use self::fleet::Fleet;
use super::NAMESPACE;
use crate::args::BenchClusterArgs;
use crate::bench::process::{Cpu, Meter};
use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep;
use warmpath_cluster::{Call, Cluster, Namespace, Release, enter_isolation, harness, until};

/// Controllers, as the chart has them by default.
const CONTROLLERS: usize = 2;

/// Envoys, which follow all pools.
const ENVOYS: usize = 2;

/// Restarts of a controller.
const RESTARTS: usize = 4;

/// The controllers' service account.
const ACCOUNT: &str = "warmpath-controller";

/// What was measured.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Each controller at rest.
    pub(super) rest: Vec<Cost>,
    /// Each controller while pods change.
    pub(super) change: Vec<Cost>,
    /// The changes in that time.
    pub(super) changes: usize,
    /// What the controllers called at rest.
    pub(super) calls: Vec<Call>,
    /// What they called while pods changed.
    pub(super) calls_of_change: Vec<Call>,
    /// After each restart.
    pub(super) restarts: Vec<Restarted>,
}

/// What a controller cost over some time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// Share of one core.
    pub(super) cpu: f64,
    /// Resident memory at the end.
    pub(super) bytes: u64,
}

/// From the start of a controller's process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Restarted {
    /// Until it had all pods in their pools.
    pub(super) known: Duration,
    /// Until it had also read the metrics of all of them.
    pub(super) scraped: Duration,
}

/// Measures in a cluster of its own, and prints a table.
pub async fn run(args: &BenchClusterArgs) -> anyhow::Result<()> {
    ensure!(args.pools > 0 && args.pods >= args.pools && args.seconds > 0, "there is nothing to measure");
    enter_isolation()?;
    tokio::spawn(harness::end_on_signals());
    let cluster = Arc::new(Cluster::start().await?);
    let measured = if args.model_services > 0 {
        models::in_cluster(args, &cluster).await
    } else {
        in_cluster(args, &cluster).await
    };
    cluster.stop().await;
    measured
}

async fn in_cluster(args: &BenchClusterArgs, cluster: &Arc<Cluster>) -> anyhow::Result<()> {
    cluster.add_own_images()?;
    cluster.install_inference_extension().await?;
    let namespace = cluster.namespace(NAMESPACE).await?;
    let fleet = Fleet::start(args, &namespace).await?;
    let measured = measure(args, &namespace, &fleet).await;
    if measured.is_err() {
        namespace.explain().await;
    }
    report::print(args, &measured?);
    Ok(())
}

async fn measure(args: &BenchClusterArgs, namespace: &Namespace, fleet: &Fleet) -> anyhow::Result<Found> {
    let values = json!({
        "controller": {"replicas": CONTROLLERS, "settings": {"scrape": {"interval_ms": 1_000}}},
        "gateway": {"kind": "envoy", "replicas": ENVOYS, "workers": 1, "resources": {"requests": {"cpu": "100m"}}},
    });
    let release = namespace.install(&values).await?;
    release.ready("gateway", ENVOYS).await?;
    let controllers = release.ready("controller", CONTROLLERS).await?;
    for controller in &controllers {
        full(&release, controller, args.pods).await?;
    }
    let time = Duration::from_secs(args.seconds);
    println!("all {} pods are known; {} s at rest", args.pods, args.seconds);
    let (rest, calls) = over(namespace, &controllers, sleep(time)).await?;
    println!("{} s with {} changes a second", args.seconds, args.changes_per_s);
    let mut changes = Ok(0);
    let changing = async { changes = fleet.change(namespace, args.changes_per_s, time).await };
    let (change, calls_of_change) = over(namespace, &controllers, changing).await?;
    fleet.settle(namespace).await?;
    let mut restarts = Vec::new();
    for number in 0..RESTARTS {
        println!("restart {} of {RESTARTS}", number + 1);
        let controller = controllers.get(number % CONTROLLERS).context("no controller")?;
        let before = release.state(controller).await?.instance;
        namespace.kill(controller).await?;
        until("another process", async || {
            (release.state(controller).await.ok()?.instance != before).then_some(())
        })
        .await?;
        restarts.push(full(&release, controller, args.pods).await?);
    }
    Ok(Found { rest, change, changes: changes?, calls, calls_of_change, restarts })
}

/// What each controller cost while something went on, and what all of them called.
async fn over(
    namespace: &Namespace,
    controllers: &[Pod],
    going_on: impl Future<Output = ()>,
) -> anyhow::Result<(Vec<Cost>, Vec<Call>)> {
    let calls = || namespace.cluster.control_plane.calls(&namespace.name, ACCOUNT);
    let called = calls().len();
    let mut meters: Vec<(Meter, Cpu)> = Vec::new();
    for controller in controllers {
        let meter = Meter::of(namespace.process(controller).await?.try_into()?);
        meters.push((meter, meter.read()?));
    }
    let begun = Instant::now();
    going_on.await;
    let elapsed_us = begun.elapsed().as_secs_f64() * 1e6;
    let cost = |(meter, before): &(Meter, Cpu)| {
        let cpu = meter.read()?.since(before) / elapsed_us;
        Ok(Cost { cpu, bytes: meter.resident_bytes()? })
    };
    let costs = meters.iter().map(cost).collect::<anyhow::Result<_>>()?;
    Ok((costs, calls().split_off(called)))
}

/// Waits until a controller has all pods and has read all metrics. Its own clock says when.
async fn full(release: &Release, controller: &Pod, pods: usize) -> anyhow::Result<Restarted> {
    let mut known = None;
    let scraped = until("the full state", async || {
        let page = release.state(controller).await.ok()?;
        let after = Duration::from_millis(page.uptime_ms);
        let endpoints = || page.pools.iter().flat_map(|pool| &pool.endpoints);
        if endpoints().count() < pods {
            return None;
        }
        known.get_or_insert(after);
        endpoints().all(|endpoint| endpoint.health == "healthy").then_some(after)
    })
    .await?;
    Ok(Restarted { known: known.unwrap_or(scraped), scraped })
}
