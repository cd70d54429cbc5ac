//! `demo k8s`: a model in a Kubernetes cluster, from nothing to the chart's uninstall, with the commands of a user.
//!
//! ```text
//!  etcd, API server, ... ─► helm install ─► ModelService ─► 2 prefill and 4 decode engines ─► requests through the chart's Envoys
//!  (warmpath-cluster)                                            └► plain Envoy ─► the same requests to the same engines first
//!                                            helm upgrade: 6 decode engines; another image ─► the requests go on, none is lost
//!                                            helm uninstall ─► nothing is left
//! ```
//!
//! The engines are simulated; everything else is what a cluster runs. The demo fails when a request is lost, or anything is left.

mod compare;
pub(crate) mod day;
mod plain;
pub mod scale;
mod steps;

use self::compare::Places;
use self::steps::Steps;
use crate::args::DemoArgs;
use crate::demo::TOKENS_PER_CHUNK;
use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use warmpath_cluster::{
    Cluster, Namespace, Release, Tally, Traffic, enter_isolation, harness, pod_address, until,
};
use warmpath_http::Client;

/// Where model and gateway are.
const NAMESPACE: &str = "llm";

/// The model, and the ModelService that the chart makes of it.
const MODEL: &str = "meta-llama/Llama-3.1-8B-Instruct";
const SERVICE: &str = "llama-3-1-8b-instruct";

/// The image of the controllers.
const IMAGE: &str = "warmpath/controller:demo";

/// The image that the engines get in the course of the demo: another tag of the same.
const ENGINE_IMAGE: &str = "docker.io/vllm/vllm-openai:next";

/// The controller's port for people.
const HTTP_PORT: u16 = 18_002;

/// Clients that ask again at once, while the cluster changes.
const CLIENTS_WITHOUT_PAUSE: usize = 16;

/// Requests of each part, at least.
const REQUESTS: usize = 1_000;

/// The most time that a part of the demo may take: images are pulled, and engines start, in no time here.
const PATIENCE: Duration = Duration::from_mins(5);

/// Plays the demo in a cluster of its own.
pub async fn play(args: &DemoArgs) -> anyhow::Result<()> {
    ensure!(!args.images && args.failing.is_none(), "--images and --failing are not for k8s");
    enter_isolation()?;
    tokio::spawn(harness::end_on_signals());
    let mut steps = Steps::default();
    let cluster = Arc::new(Cluster::start().await?);
    steps.done("control plane and three nodes with 8 GPUs each, as far as Kubernetes knows");
    let played = in_cluster(args, &cluster, &mut steps).await;
    cluster.stop().await;
    played
}

async fn in_cluster(args: &DemoArgs, cluster: &Arc<Cluster>, steps: &mut Steps) -> anyhow::Result<()> {
    cluster.add_own_images()?;
    cluster.add_vllm_images(&format!(
        "--preset {} --time-scale {} --tokens-per-chunk {TOKENS_PER_CHUNK}",
        args.preset, args.time_scale
    ))?;
    cluster.install_inference_extension().await?;
    steps.done("the definition of InferencePool");
    let namespace = cluster.namespace(NAMESPACE).await?;
    let played = story(args, &namespace, steps).await;
    if played.is_err() {
        namespace.explain().await;
    }
    played
}

async fn story(args: &DemoArgs, namespace: &Namespace, steps: &mut Steps) -> anyhow::Result<()> {
    let set = ["prefill.replicas=2", "decode.replicas=4", "gpu.type=nvidia-h100"];
    let named = [format!("image.controller={IMAGE}"), format!("model.name={MODEL}")];
    let sets: Vec<&str> = named.iter().map(String::as_str).chain(set).collect();
    helm(namespace, "install", &sets, &quick()).await?;
    steps.done("the release is installed");
    let release = Release { namespace: namespace.clone(), image: IMAGE.to_owned() };
    let prefill = engines(namespace, "prefill", 2).await?;
    let decode = engines(namespace, "decode", 4).await?;
    steps.done("2 prefill and 4 decode engines ready");
    let controllers = release.ready("controller", 2).await?;
    let gateways = release.ready("gateway", 2).await?;
    service_ready(namespace).await?;
    steps.done("2 controllers and 2 Envoys ready, and the ModelService says so, too");
    let places = Places {
        namespace,
        model: MODEL,
        prefill: &prefill,
        decode: &decode,
        controllers: &controllers,
        gateways: &gateways,
    };
    compare::play(args, &places).await?;
    steps.done("the same conversations through plain Envoys and through Warmpath");
    let mut parts = Parts { traffic: talk(namespace).await?, last: Tally::default() };
    parts.go_on("requests to 2 prefill and 4 decode engines", steps).await?;
    show(namespace, &["get", "modelservices,inferencepools.inference.networking.k8s.io,pods"]).await?;
    show_pools(&controllers).await?;
    steps.restart();
    helm(namespace, "upgrade", &["decode.replicas=6"], &Value::Null).await?;
    engines(namespace, "decode", 6).await?;
    service_ready(namespace).await?;
    parts.go_on("decode engines 4 -> 6, while requests went on", steps).await?;
    let image = format!("model.spec.engine.image={ENGINE_IMAGE}");
    helm(namespace, "upgrade", &["decode.replicas=6", &image], &Value::Null).await?;
    rolled_out(namespace).await?;
    parts.go_on("all 8 engines replaced by a new image's, while requests went on", steps).await?;
    show(namespace, &["describe", "modelservice", SERVICE]).await?;
    let tally = parts.traffic.stop().await;
    println!(
        "{} requests served, {} of them mostly from a cache, {} lost, the slowest {} ms\n",
        tally.served,
        tally.warm,
        tally.lost.len(),
        tally.slowest.as_millis()
    );
    ensure!(tally.lost.is_empty(), "lost: {:?}", tally.lost.iter().take(5).collect::<Vec<_>>());
    steps.restart();
    println!("$ helm --namespace {NAMESPACE} uninstall warmpath");
    release.uninstall().await?;
    nothing_left(namespace).await?;
    steps.done("uninstalled; no object of the release, the ModelService or its engines is left");
    Ok(())
}

/// The requests of the demo, part by part.
struct Parts {
    traffic: Traffic,
    last: Tally,
}

// === impl Parts ===

impl Parts {
    /// Waits for more requests, and fails when one was lost.
    async fn go_on(&mut self, what: &str, steps: &mut Steps) -> anyhow::Result<()> {
        self.traffic.more(REQUESTS).await?;
        let tally = self.traffic.tally();
        let (served, lost) = (tally.served - self.last.served, tally.lost.len());
        steps.done(&format!("{what}: {served} requests, {lost} lost"));
        ensure!(lost == 0, "lost: {:?}", tally.lost.iter().take(5).collect::<Vec<_>>());
        self.last = tally;
        Ok(())
    }
}

/// Values beside those of the command line: pods that end quickly, and need little.
fn quick() -> Value {
    json!({
        "controller": {"resources": {"requests": {"cpu": "100m"}}, "settings": {"scrape": {"interval_ms": 500}}},
        "gateway": {"workers": 1, "drainSeconds": 5, "resources": {"requests": {"cpu": "100m"}}},
    })
}

/// Runs `helm`, and prints the command without the values that only this demo needs.
async fn helm(namespace: &Namespace, command: &str, sets: &[&str], values: &Value) -> anyhow::Result<()> {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../controller/chart").display().to_string();
    let mut arguments = vec![command, "warmpath", &chart];
    let reused = if values.is_null() { &["--reuse-values"][..] } else { &["--values", "-"] };
    arguments.extend(reused);
    arguments.extend(sets.iter().flat_map(|set| ["--set", *set]));
    let shown: Vec<String> = sets.iter().map(|set| format!("--set {set}")).collect();
    let reuse = if values.is_null() { "--reuse-values " } else { "" };
    println!(
        "\n$ helm --namespace {NAMESPACE} {command} warmpath controller/chart {reuse}\\\n    {}",
        shown.join(" \\\n    ")
    );
    let done = namespace.helm(&arguments, &values.to_string()).await?;
    ensure!(done.is_success, "helm {command}: {}", done.stderr);
    Ok(())
}

fn labels(role: &str) -> String {
    format!("warmpath.dev/model-service={SERVICE},warmpath.dev/role={role}")
}

async fn engines(namespace: &Namespace, role: &str, count: usize) -> anyhow::Result<Vec<Pod>> {
    namespace.ready(&labels(role), count).await
}

/// Waits until the ModelService says that everything is as it should be.
async fn service_ready(namespace: &Namespace) -> anyhow::Result<()> {
    let seconds = format!("--timeout={}s", PATIENCE.as_secs());
    let arguments = ["wait", "modelservice", SERVICE, "--for=condition=Ready", &seconds];
    let waited = namespace.kubectl(&arguments).await?;
    ensure!(waited.is_success, "the ModelService is not ready: {}{}", waited.stdout, waited.stderr);
    Ok(())
}

/// Waits until all engines have the new image, and are ready.
async fn rolled_out(namespace: &Namespace) -> anyhow::Result<()> {
    for (role, count) in [("prefill", 2), ("decode", 6)] {
        until(&format!("{count} {role} engines of the new image"), async || {
            let pods = namespace.ready(&labels(role), count).await.ok()?;
            let image = |pod: &Pod| pod.spec.as_ref()?.containers.first()?.image.clone();
            pods.iter().all(|pod| image(pod).as_deref() == Some(ENGINE_IMAGE)).then_some(())
        })
        .await?;
    }
    service_ready(namespace).await
}

/// Starts clients once the first request is served.
async fn talk(namespace: &Namespace) -> anyhow::Result<Traffic> {
    let gateway = namespace.service("warmpath-gateway").await?;
    let client = Client::http1(gateway);
    let body = json!({"model": MODEL, "max_tokens": 1, "messages": [{"role": "user", "content": "begin"}]});
    until("a response through the gateway's Service", async || {
        let response = client.post_json("/v1/chat/completions", &body).await.ok()?;
        response.status.is_success().then_some(())
    })
    .await?;
    Ok(Traffic::start(gateway, MODEL, "ours", CLIENTS_WITHOUT_PAUSE))
}

async fn show(namespace: &Namespace, arguments: &[&str]) -> anyhow::Result<()> {
    let shown = namespace.kubectl(arguments).await?;
    println!("\n$ kubectl --namespace {NAMESPACE} {}\n{}{}", arguments.join(" "), shown.stdout, shown.stderr);
    Ok(())
}

/// What `warmpath get` lists.
async fn show_pools(controllers: &[Pod]) -> anyhow::Result<()> {
    let controller = pod_address(controllers.first().context("no controller")?, HTTP_PORT)?;
    let client = Client::http1(controller);
    let state: warmpath::api::StatePage = serde_json::from_slice(&client.get("/state").await?.body)?;
    for kind in ["pools", "endpoints"] {
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

/// Fails when something of the release, or of what its ModelService became, stays.
async fn nothing_left(namespace: &Namespace) -> anyhow::Result<()> {
    let kinds = "pods,services,deployments,replicasets,configmaps,secrets,serviceaccounts,roles,rolebindings,leases,jobs,\
                 poddisruptionbudgets,networkpolicies,horizontalpodautoscalers,modelservices,\
                 inferencepools.inference.networking.k8s.io";
    let mut left = Vec::new();
    until("what the chart brought to be gone", async || {
        let names = namespace.kubectl(&["get", kinds, "-o", "name"]).await.ok()?.stdout;
        let is_ours = |name: &&str| name.contains("warmpath") || name.contains(SERVICE);
        left = names.lines().filter(is_ours).map(str::to_owned).collect();
        left.is_empty().then_some(())
    })
    .await
    .with_context(|| format!("left behind: {left:?}"))
}
