//! Pods that are objects only, their pools, and the engine that all of their addresses lead to.

use crate::args::BenchClusterArgs;
use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::{MissedTickBehavior, interval};
use warmpath_cluster::manifests::{ENGINE_PORT, pool};
use warmpath_cluster::{Image, Namespace, Node};

/// The node of all pods.
const NODE: &str = "hollow";

/// The pods' addresses, and the first of them.
const RANGE: &str = "10.98.0.0/16";
const FIRST: u32 = u32::from_be_bytes([10, 98, 0, 1]);

/// Calls of the API server at the same time.
const AT_ONCE: usize = 16;

/// The pods. Dropping it ends the engine.
pub(super) struct Fleet {
    pods: usize,
    _node: Node,
    _engine: Child,
}

// === impl Fleet ===

impl Fleet {
    /// Makes pools and pods, all of them ready.
    pub(super) async fn start(args: &BenchClusterArgs, namespace: &Namespace) -> anyhow::Result<Self> {
        let node = namespace.cluster.hollow_node(NODE, RANGE).await?;
        let engine = engine(&[])?;
        for number in 0..args.pools {
            let mut pool = pool(&format!("pool-{number}"), &format!("pool-{number}"));
            let models = json!({"warmpath.dev/models": format!("model-{number}")});
            let metadata = pool.pointer_mut("/metadata").and_then(Value::as_object_mut);
            metadata.context("a pool without metadata")?.insert("annotations".to_owned(), models);
            namespace.apply(pool).await?;
        }
        let fleet = Self { pods: args.pods, _node: node, _engine: engine };
        let pods: Api<Pod> = namespace.api();
        let make = |number: usize| {
            let pods = pods.clone();
            let pool = number % args.pools;
            async move {
                let pod = serde_json::from_value(json!({
                    "metadata": {"name": name(number), "labels": {"app": format!("pool-{pool}")}},
                    "spec": {
                        "nodeName": NODE,
                        "automountServiceAccountToken": false,
                        "containers": [{"name": "engine", "image": "none"}],
                    },
                }))?;
                pods.create(&PostParams::default(), &pod).await?;
                set_ready(&pods, number, true).await
            }
        };
        stream::iter(0..args.pods).map(make).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        Ok(fleet)
    }

    /// Changes pods at this rate for this long, one after the other: not ready, and ready again. Returns how many changes
    /// that were.
    pub(super) async fn change(
        &self,
        namespace: &Namespace,
        per_s: u32,
        time: Duration,
    ) -> anyhow::Result<usize> {
        let pods: Api<Pod> = namespace.api();
        let count = per_s as usize * time.as_secs() as usize;
        let mut ticks = interval(Duration::from_secs(1) / per_s);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for number in 0..count {
            ticks.tick().await;
            // Neighbours are of different pools.
            set_ready(&pods, number / 2 % self.pods, number % 2 == 1).await?;
        }
        Ok(count)
    }

    /// Makes all pods ready again.
    pub(super) async fn settle(&self, namespace: &Namespace) -> anyhow::Result<()> {
        let pods: Api<Pod> = namespace.api();
        let ready = |number: usize| set_ready(&pods, number, true);
        stream::iter(0..self.pods).map(ready).buffer_unordered(AT_ONCE).try_collect::<()>().await
    }
}

fn name(number: usize) -> String {
    format!("engine-{number}")
}

/// One engine on all addresses, which serves these models.
pub(super) fn engine(models: &[String]) -> anyhow::Result<Child> {
    let image = Image::built("warmpath-engine");
    let (program, _) = image.files.first().context("an image without files")?;
    let port = ENGINE_PORT.to_string();
    Command::new(program)
        .args(["--host", "0.0.0.0", "--port", &port, "--model", "any", "--preset", "instant"])
        .args(models.iter().flat_map(|model| ["--adapter", model]))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))
}

async fn set_ready(pods: &Api<Pod>, number: usize, is_ready: bool) -> anyhow::Result<()> {
    publish(pods, &name(number), number, is_ready).await
}

/// Publishes that a pod runs at the address of this number.
pub(super) async fn publish(
    pods: &Api<Pod>,
    name: &str,
    number: usize,
    is_ready: bool,
) -> anyhow::Result<()> {
    let address = Ipv4Addr::from(FIRST + u32::try_from(number)?);
    let ready = if is_ready { "True" } else { "False" };
    let status = json!({"status": {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [{"type": "Ready", "status": ready}],
    }});
    pods.patch_status(name, &PatchParams::default(), &Patch::Strategic(status)).await?;
    Ok(())
}
