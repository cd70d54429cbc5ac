//! `demo k8s`: the demo in a Kubernetes cluster, from nothing to the chart's uninstall.
//!
//! ```text
//!  etcd, API server, ... ─► engines + InferencePool ─► plain Envoys: the same conversations ─┐
//!  (warmpath-cluster)                               └► helm install ─► the chart's Envoys ───┴─► the same table as `demo`
//! ```
//!
//! The engines come first, as in a cluster that runs a model already. Each arm gets new engine pods, so that all start cold. The
//! demo ends with an uninstall, and fails if anything of the chart is left.

mod manifests;
pub mod scale;
mod steps;

use self::steps::Steps;
use crate::args::DemoArgs;
use crate::arm::Arm;
use crate::cluster::{params, scrape};
use crate::demo::{Planned, RunInfoOf, plan, run_info};
use crate::measure::ArmRun;
use crate::play::{Progress, Stage, converse};
use crate::report::Report;
use anyhow::{Context, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use warmpath_cluster::manifests::pool;
use warmpath_cluster::{
    Cluster, Namespace, Release, engine_address, enter_isolation, harness, pod_address, run, until,
};
use warmpath_envoy::envoy_binary;

/// Where model and gateway are.
const NAMESPACE: &str = "llm";

/// The engines' Deployment and label.
const ENGINES: &str = "vllm";

/// The plain Envoys.
const PLAIN: &str = "plain-envoy";

/// Envoys of each arm.
const ENVOYS: usize = 2;

/// The port of all Envoys.
const GATEWAY_PORT: u16 = 8080;

/// The controller's port for people.
const HTTP_PORT: u16 = 18_002;

/// Plays all arms in a cluster of their own.
pub async fn play(args: &DemoArgs) -> anyhow::Result<Report> {
    ensure!(!args.images && args.failing.is_none(), "--images and --failing are not for k8s");
    enter_isolation()?;
    tokio::spawn(harness::end_on_signals());
    let planned = plan(args)?;
    let mut steps = Steps::default();
    let cluster = Arc::new(Cluster::start().await?);
    steps.done("control plane and three nodes");
    let runs = in_cluster(args, &planned, &cluster, &mut steps).await;
    cluster.stop().await;
    let runs = runs?;
    let of = RunInfoOf { envoys: ENVOYS, envoy_version: envoy_version().await?, goals: vec![] };
    let info = run_info(args, &runs, planned.all.len(), of);
    Ok(Report::new(info, runs))
}

async fn in_cluster(
    args: &DemoArgs,
    planned: &Planned,
    cluster: &Arc<Cluster>,
    steps: &mut Steps,
) -> anyhow::Result<Vec<ArmRun>> {
    cluster.add_own_images()?;
    cluster.install_inference_extension().await?;
    steps.done("definitions of InferencePool");
    let namespace = cluster.namespace(NAMESPACE).await?;
    namespace.apply(pool(ENGINES, ENGINES)).await?;
    let mut runs = Vec::new();
    for arm in &args.arms {
        let played = play_arm(args, planned, &namespace, *arm, steps).await;
        if played.is_err() {
            namespace.explain().await;
        }
        runs.push(played?);
    }
    Ok(runs)
}

async fn play_arm(
    args: &DemoArgs,
    planned: &Planned,
    namespace: &Namespace,
    arm: Arm,
    steps: &mut Steps,
) -> anyhow::Result<ArmRun> {
    let engines = cold_engines(args, namespace).await?;
    steps.done(&format!("{} engines ready", engines.len()));
    match arm.plain() {
        Some(_) => plain(args, planned, namespace, arm, &engines, steps).await,
        None => warmpath(args, planned, namespace, &engines, steps).await,
    }
}

/// New engine pods, which hold nothing.
async fn cold_engines(args: &DemoArgs, namespace: &Namespace) -> anyhow::Result<Vec<Pod>> {
    delete_deployment(namespace, ENGINES).await?;
    until("the old engines to be gone", async || {
        namespace.pods(&format!("app={ENGINES}")).await.ok()?.is_empty().then_some(())
    })
    .await?;
    namespace.apply(manifests::engines(args, ENGINES)).await?;
    namespace.ready(&format!("app={ENGINES}"), args.engines).await
}

/// Envoys with a policy of their own and no filter.
async fn plain(
    args: &DemoArgs,
    planned: &Planned,
    namespace: &Namespace,
    arm: Arm,
    engines: &[Pod],
    steps: &mut Steps,
) -> anyhow::Result<ArmRun> {
    let addresses: Vec<SocketAddr> = engines.iter().map(engine_address).collect::<anyhow::Result<_>>()?;
    let lb = arm.plain().context("an arm without a policy")?;
    namespace.apply(manifests::plain_config(PLAIN, lb, &addresses)?).await?;
    namespace.apply(manifests::plain_envoys(PLAIN, ENVOYS)).await?;
    let gateways = namespace.ready(&format!("app={PLAIN}"), ENVOYS).await?;
    steps.done(&format!("{ENVOYS} plain Envoys ready"));
    let run = converse_through(args, planned, arm, &gateways, engines).await?;
    steps.done(&format!("requests, {arm}"));
    delete_deployment(namespace, PLAIN).await?;
    Ok(run)
}

/// The chart, its Envoys, and its end.
async fn warmpath(
    args: &DemoArgs,
    planned: &Planned,
    namespace: &Namespace,
    engines: &[Pod],
    steps: &mut Steps,
) -> anyhow::Result<ArmRun> {
    let release = namespace.install(&values(args)).await?;
    steps.done("helm install warmpath controller/chart");
    let gateways = release.ready("gateway", ENVOYS).await?;
    let controllers = release.ready("controller", 2).await?;
    steps.done("2 controllers and 2 Envoys ready");
    let run = converse_through(args, planned, Arm::Warmpath, &gateways, engines).await?;
    steps.done("requests, warmpath");
    show(namespace, &controllers).await?;
    steps.restart();
    uninstall(namespace, &release).await?;
    steps.done("helm uninstall warmpath; nothing of it is left");
    Ok(run)
}

async fn converse_through(
    args: &DemoArgs,
    planned: &Planned,
    arm: Arm,
    gateways: &[Pod],
    engines: &[Pod],
) -> anyhow::Result<ArmRun> {
    let gateways: Vec<SocketAddr> =
        gateways.iter().map(|pod| pod_address(pod, GATEWAY_PORT)).collect::<anyhow::Result<_>>()?;
    let names = engines.iter().filter_map(|pod| pod.metadata.name.clone());
    let speed = (args.time_scale, params(args.preset, args.kv_tokens).block_tokens);
    let stage = Arc::new(Stage::before(arm, &gateways, names, speed, Progress::new(arm, planned.requests)));
    converse(&stage, &planned.all, args.clients).await?;
    Ok(stage.finish())
}

/// What a user would look at, with the commands.
async fn show(namespace: &Namespace, controllers: &[Pod]) -> anyhow::Result<()> {
    for arguments in [
        &["get", "pods", "-o", "wide"][..],
        &["get", "inferencepools.inference.networking.k8s.io"],
        &["get", "services,poddisruptionbudgets,leases"],
    ] {
        let shown = namespace.kubectl(arguments).await?;
        println!("\n$ kubectl -n {NAMESPACE} {}\n{}{}", arguments.join(" "), shown.stdout, shown.stderr);
    }
    let controller = pod_address(controllers.first().context("no controller")?, HTTP_PORT)?;
    let client = warmpath_http::Client::http1(controller);
    let state: warmpath::api::StatePage = serde_json::from_slice(&client.get("/state").await?.body)?;
    for kind in ["pools", "endpoints", "proxies"] {
        println!("$ warmpath get {kind}");
        let arguments = ["warmpath-lab", "get", kind];
        let cli = <warmpath::args::Cli as clap::Parser>::try_parse_from(arguments)?;
        let warmpath::args::Command::Get(get) = cli.command else { continue };
        let (mut out, mut notes) = (std::io::stdout().lock(), std::io::stderr().lock());
        warmpath::get::print(&mut out, &mut notes, state.clone(), &get)?;
        println!();
    }
    Ok(())
}

/// Removes the chart, and fails when something of it stays.
async fn uninstall(namespace: &Namespace, release: &Release) -> anyhow::Result<()> {
    release.uninstall().await?;
    let kinds = "pods,services,deployments,configmaps,secrets,serviceaccounts,roles,rolebindings,leases,\
                 poddisruptionbudgets,networkpolicies,horizontalpodautoscalers";
    let mut left = Vec::new();
    until("what the chart brought to be gone", async || {
        let names = namespace.kubectl(&["get", kinds, "-o", "name"]).await.ok()?.stdout;
        left = names.lines().filter(|name| name.contains("warmpath")).map(str::to_owned).collect();
        left.is_empty().then_some(())
    })
    .await
    .with_context(|| format!("left behind: {left:?}"))
}

fn values(args: &DemoArgs) -> Value {
    json!({
        "controller": {
            "replicas": 2,
            "settings": {"scrape": {"interval_ms": scrape(args.time_scale).interval.as_millis()}},
        },
        "gateway": {
            "kind": "envoy",
            "replicas": ENVOYS,
            "workers": 1,
            "drainSeconds": 5,
            "resources": {"requests": {"cpu": "100m"}},
        },
    })
}

async fn delete_deployment(namespace: &Namespace, name: &str) -> anyhow::Result<()> {
    let deployments: Api<Deployment> = namespace.api();
    match deployments.delete(name, &DeleteParams::background()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error).context("cannot delete a Deployment"),
    }
}

/// What the binary says of itself: `hash/version/state/build/ssl`.
async fn envoy_version() -> anyhow::Result<String> {
    let mut command = tokio::process::Command::new(envoy_binary()?);
    command.arg("--version");
    let said = run(command, "").await?.stdout;
    let version = said.split_whitespace().last().and_then(|long| long.split('/').nth(1));
    Ok(version.unwrap_or_default().to_owned())
}
