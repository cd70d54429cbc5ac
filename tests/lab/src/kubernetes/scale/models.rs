//! `bench-cluster --model-services 200`: what ModelServices cost the controllers, at rest and after a restart of all of them.
//!
//! Their pods are bound to a hollow node, as those of the other measurement are, and a task that stands for its kubelet publishes that
//! they are ready. So each ModelService is Ready, and the controllers scrape its pod.

use super::{ACCOUNT, CONTROLLERS, Cost, over, report, scaling};
use crate::args::BenchClusterArgs;
use crate::bench::process::{Cpu, Meter};
use crate::kubernetes::NAMESPACE;
use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::sleep;
use warmpath_cluster::{Call, Cluster, Namespace, Release, is_ready, until};

/// How long nothing may be written until everything counts as settled.
const SETTLED: Duration = Duration::from_secs(5);

/// The addresses of the pods of each node. There are two, because a node takes 250 pods.
const RANGES: [&str; 2] = ["10.98.0.0/17", "10.98.128.0/17"];

/// How often the ModelServices are looked at while they become Ready.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Calls of the API server at the same time.
const AT_ONCE: usize = 16;

/// What was measured.
pub(super) struct Found {
    /// From the first ModelService's creation until all were Ready.
    pub(super) ready: Duration,
    /// What the controllers called until then, and until nothing was left to be written.
    pub(super) calls_of_ready: Vec<Call>,
    /// Each controller at rest.
    pub(super) rest: Vec<Cost>,
    /// What they called at rest.
    pub(super) calls: Vec<Call>,
    /// What was done then.
    pub(super) then: Then,
}

/// What is measured once all are Ready.
pub(super) enum Then {
    /// All controllers were killed.
    Restart(Restart),
    /// Requests came, with scaling and without.
    Scaling(scaling::Found),
}

/// All controllers killed at once: the next leader knows nothing.
pub(super) struct Restart {
    /// From the kill until the new leader had looked at every ModelService.
    pub(super) from_kill: Duration,
    /// From the moment at which it had the Lease.
    pub(super) from_lease: Duration,
    /// Processor time of each controller since its start.
    pub(super) cpu: Vec<Duration>,
    /// What they called.
    pub(super) calls: Vec<Call>,
}

/// Measures in a cluster that has just started.
pub(super) async fn in_cluster(args: &BenchClusterArgs, cluster: &Arc<Cluster>) -> anyhow::Result<()> {
    cluster.add_own_images()?;
    cluster.install_inference_extension().await?;
    let namespace = cluster.namespace(NAMESPACE).await?;
    let measured = measure(args, &namespace).await;
    if measured.is_err() {
        namespace.explain().await;
    }
    report::print_models(args, &measured?);
    Ok(())
}

async fn measure(args: &BenchClusterArgs, namespace: &Namespace) -> anyhow::Result<Found> {
    let names: Vec<String> = (0..usize::from(args.model_services)).map(name).collect();
    let _engine = super::fleet::engine(&names)?;
    let mut nodes = Vec::new();
    for (number, range) in RANGES.iter().enumerate() {
        nodes.push(namespace.cluster.hollow_node(&node(number), range).await?);
    }
    let mut kubelet = JoinSet::new();
    kubelet.spawn(publish_ready(namespace.clone()));
    let mut values = json!({
        "modelServices": true,
        "controller": {"replicas": CONTROLLERS, "settings": {"scrape": {"interval_ms": 1_000}}},
    });
    if let (1.., Some(fields)) = (args.proxies, values.as_object_mut()) {
        let gateway = json!({
            "kind": "envoy", "replicas": args.proxies, "workers": 1, "drainSeconds": 1, "resources": {"requests": {"cpu": "100m"}},
        });
        fields.insert("gateway".to_owned(), gateway);
    }
    let release = namespace.install(&values).await?;
    let controllers = release.ready("controller", CONTROLLERS).await?;
    let api = namespace.model_services();
    let begun = Instant::now();
    let make = |number: usize| {
        let api = api.clone();
        async move {
            let object = serde_json::from_value(service(number))?;
            api.create(&PostParams::default(), &object).await.context("cannot create a ModelService")?;
            anyhow::Ok(())
        }
    };
    stream::iter(0..usize::from(args.model_services))
        .map(make)
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    until_all_ready(namespace, usize::from(args.model_services)).await?;
    let ready = begun.elapsed();
    settled(namespace).await;
    kubelet.shutdown().await;
    let calls_of_ready = calls(namespace);
    println!("all {} ModelServices are Ready; {} s at rest", args.model_services, args.seconds);
    let (rest, calls) = over(namespace, &controllers, sleep(Duration::from_secs(args.seconds))).await?;
    let then = if args.proxies > 0 {
        Then::Scaling(scaling::measure(args, namespace, &release, &controllers).await?)
    } else {
        println!("all controllers killed");
        Then::Restart(restart(args, namespace, &release, &controllers).await?)
    };
    Ok(Found { ready, calls_of_ready, rest, calls, then })
}

async fn restart(
    args: &BenchClusterArgs,
    namespace: &Namespace,
    release: &Release,
    controllers: &[Pod],
) -> anyhow::Result<Restart> {
    let called = calls(namespace).len();
    for controller in controllers {
        namespace.kill(controller).await?;
    }
    let killed = Instant::now();
    // They are looked at in the order of their names: the last one's new generation is seen when all others have been.
    let last = name(usize::from(args.model_services.saturating_sub(1)));
    let api = namespace.model_services();
    let edit = Patch::Merge(json!({"spec": {"objectives": {"ttftMilliseconds": 500}}}));
    let generation = api.patch(&last, &PatchParams::default(), &edit).await?.metadata.generation;
    until("the last ModelService to be looked at", async || {
        let status = api.get(&last).await.ok()?.data.get("status")?.clone();
        (status.get("observedGeneration")?.as_i64() == generation).then_some(())
    })
    .await?;
    let from_kill = killed.elapsed();
    let leases: Api<Lease> = namespace.api();
    let lease = leases.get(ACCOUNT).await?.spec.context("a Lease without a spec")?;
    let acquired = lease.acquire_time.context("nobody has the Lease")?.0;
    let from_lease = Duration::try_from(Timestamp::now().duration_since(acquired)).unwrap_or_default();
    settled(namespace).await;
    let cpu = release.ready("controller", CONTROLLERS).await?;
    let mut spent = Vec::new();
    for controller in &cpu {
        let meter = Meter::of(namespace.process(controller).await?.try_into()?);
        spent.push(Duration::from_secs_f64(meter.read()?.since(&Cpu::default()) / 1e6));
    }
    let calls = calls(namespace).split_off(called);
    let written: Vec<&Call> =
        calls.iter().filter(|call| is_write(call) && !call.uri.contains(&last)).collect();
    let objects = written.iter().filter(|call| !call.resource().starts_with("events"));
    ensure!(objects.count() == 0, "a restart has written what was as it should be: {written:?}");
    Ok(Restart { from_kill, from_lease, cpu: spent, calls })
}

/// Publishes of each pod that is bound to a hollow node that it runs, at an address of its own.
async fn publish_ready(namespace: Namespace) {
    let pods: Api<Pod> = namespace.api();
    let config = watcher::Config::default().labels("app.kubernetes.io/managed-by=warmpath");
    let mut changes = watcher(pods.clone(), config).default_backoff().applied_objects().boxed();
    let mut given = 0;
    while let Some(change) = changes.next().await {
        let Ok(pod) = change else { continue };
        let is_bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        let Some(name) = pod.metadata.name.as_deref().filter(|_| is_bound && !is_ready(&pod)) else {
            continue;
        };
        // One that was not published is tried again with the next change, or fails the measurement.
        if super::fleet::publish(&pods, name, given, true).await.is_ok() {
            given += 1;
        }
    }
}

/// Waits until every ModelService says that it is Ready: as long as it goes on. Controller manager and scheduler have their
/// limits of calls a second.
async fn until_all_ready(namespace: &Namespace, count: usize) -> anyhow::Result<()> {
    let is_ready = |service: &&DynamicObject| service.data.pointer("/status/phase") == Some(&json!("Ready"));
    let api = namespace.model_services();
    let mut before = (0, 0);
    while before.0 < count {
        before = until("another write of the controllers, or another ModelService to be Ready", async || {
            sleep(LOOK_INTERVAL).await;
            let ready = api.list(&ListParams::default()).await.ok()?.iter().filter(is_ready).count();
            let now = (ready, calls(namespace).iter().filter(|call| is_write(call)).count());
            (now != before).then_some(now)
        })
        .await?;
    }
    Ok(())
}

/// Waits until the controllers have written nothing for some seconds.
pub(super) async fn settled(namespace: &Namespace) {
    let writes = || calls(namespace).iter().filter(|call| is_write(call)).count();
    let mut before = writes();
    loop {
        sleep(SETTLED).await;
        let now = writes();
        if now == before {
            return;
        }
        before = now;
    }
}

fn calls(namespace: &Namespace) -> Vec<Call> {
    namespace.cluster.control_plane.calls(&namespace.name, ACCOUNT)
}

/// Whether a call writes something other than the Lease, which is renewed for ever.
fn is_write(call: &Call) -> bool {
    let writes = ["create", "update", "patch", "delete"].contains(&call.verb.as_str());
    writes && call.resource() != "leases.coordination.k8s.io"
}

pub(super) fn name(number: usize) -> String {
    format!("model-{number:04}")
}

fn node(number: usize) -> String {
    format!("hollow-{number}")
}

/// A ModelService with one replica of each of its roles.
fn service(number: usize) -> Value {
    let hardware = json!({
        "gpu": {"type": "cpu"},
        "nodeSelector": {"kubernetes.io/hostname": node(number % RANGES.len())},
        "tolerations": [{"key": "warmpath.dev/hollow", "operator": "Exists"}],
    });
    let name = name(number);
    json!({
        "apiVersion": "warmpath.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": name},
        "spec": {
            "model": {"name": name},
            "roles": {"prefill": {"hardware": hardware}, "decode": {"hardware": hardware}},
        },
    })
}
