//! Replicas of several nodes: the real controller of LeaderWorkerSets makes their pods, and requests go to those that take them.

use crate::gateway::values;
use crate::load::Load;
use crate::models::{nothing_left, ready};
use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use warmpath_cluster::{Namespace, Release, pod_address, until};
use warmpath_http::Client;

/// The port of the first rank of each pod.
const PORT: u16 = 8000;

/// A ModelService whose nodes have two devices each.
fn service(name: &str, replicas: u32, parallelism: &Value) -> Value {
    json!({
        "apiVersion": "warmpath.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": name},
        "spec": {
            "model": {"name": name},
            "roles": {"serve": {
                "replicas": {"min": replicas},
                "hardware": {"gpu": {"type": "nvidia-h100", "perNode": 2}},
                "parallelism": parallelism,
            }},
        },
    })
}

async fn installed(namespace: &Namespace) -> anyhow::Result<Release> {
    namespace.cluster.control_plane.start_groups().await?;
    let mut values = values();
    values["modelServices"] = json!(true);
    let release = namespace.install(&values).await?;
    release.ready("controller", 2).await?;
    Ok(release)
}

fn labels(name: &str) -> String {
    format!("warmpath.dev/model-service={name}")
}

/// Waits until the router's endpoints are exactly these ports of these pods.
async fn routed(
    namespace: &Namespace,
    release: &Release,
    name: &str,
    pods: &[Pod],
    ports: &[u16],
) -> anyhow::Result<()> {
    let expected: anyhow::Result<BTreeSet<String>> = pods
        .iter()
        .flat_map(|pod| ports.iter().map(move |port| Ok(pod_address(pod, *port)?.to_string())))
        .collect();
    let expected = expected?;
    for controller in release.ready("controller", 2).await? {
        let what = format!("endpoints {expected:?} in {}", namespace.name);
        release
            .pool(&controller, name, &what, |pool| {
                let found: BTreeSet<String> = pool.endpoints.iter().map(|it| it.address.clone()).collect();
                (found == expected).then_some(())
            })
            .await?;
    }
    Ok(())
}

/// The pods of a role that take requests, or those that only compute.
async fn pods(namespace: &Namespace, name: &str, take_requests: bool) -> anyhow::Result<Vec<Pod>> {
    let endpoint = if take_requests { "warmpath.dev/endpoint=true" } else { "!warmpath.dev/endpoint" };
    namespace.pods(&format!("{},{endpoint}", labels(name))).await
}

/// Pipeline parallelism over two nodes: the first one of each replica takes the requests. When a node of a replica fails, the
/// replica begins anew as a whole, and the other one takes its requests.
pub(crate) async fn a_replica_of_two_nodes_is_routed_to_at_its_first(
    namespace: Namespace,
) -> anyhow::Result<()> {
    let release = installed(&namespace).await?;
    namespace.apply(service("deep", 2, &json!({"tensor": 2, "pipeline": 2}))).await?;
    namespace.ready(&labels("deep"), 4).await?;
    ready(&namespace, "deep").await?;
    let leaders = pods(&namespace, "deep", true).await?;
    ensure!(leaders.len() == 2, "pods that take requests: {}", leaders.len());
    routed(&namespace, &release, "deep", &leaders, &[PORT]).await?;
    let mut load = Load::through(&namespace, release.clone(), "deep", "warmpath.dev/endpoint=true").await?;
    load.goes_on("two replicas of two nodes each").await?;
    let workers = pods(&namespace, "deep", false).await?;
    let failing = workers.first().context("no pod that only computes")?;
    let uid = |pod: &Pod| pod.metadata.uid.clone();
    let before: BTreeSet<_> = leaders.iter().filter_map(uid).collect();
    namespace.kill(failing).await?;
    until("a replica to begin anew", async || {
        let leaders = namespace.ready(&labels("deep"), 4).await.ok()?;
        let now: BTreeSet<_> = leaders.iter().filter_map(uid).collect();
        (before.intersection(&now).count() == 1).then_some(())
    })
    .await?;
    ready(&namespace, "deep").await?;
    routed(&namespace, &release, "deep", &pods(&namespace, "deep", true).await?, &[PORT]).await?;
    // How soon pods are used cannot be seen here: the new ones have the names of the old ones.
    load.goes_on("a node of a replica killed, the replica begun anew").await
}

/// Data parallelism over two nodes: each rank of each pod is an endpoint.
pub(crate) async fn each_rank_of_a_replica_of_two_nodes_is_routed_to(
    namespace: Namespace,
) -> anyhow::Result<()> {
    let release = installed(&namespace).await?;
    namespace.apply(service("wide", 1, &json!({"data": 4, "expert": true}))).await?;
    let pods = namespace.ready(&labels("wide"), 2).await?;
    ready(&namespace, "wide").await?;
    routed(&namespace, &release, "wide", &pods, &[PORT, PORT + 1]).await?;
    release.ready("gateway", 2).await?;
    let client = Client::http1(namespace.service("warmpath-gateway").await?);
    let mut asked = 0;
    let mut engines = BTreeSet::new();
    until("a response of each rank", async || {
        asked += 1;
        let messages = json!([{"role": "user", "content": format!("{asked} {}", "word ".repeat(200))}]);
        let body = json!({"model": "wide", "max_tokens": 1, "messages": messages});
        let response = client.post_json("/v1/chat/completions", &body).await.ok()?;
        let engine = response.headers.get("x-engine")?.to_str().ok()?.to_owned();
        engines.insert(engine);
        (engines.len() == 4).then_some(())
    })
    .await
    .with_context(|| format!("responses of {engines:?} only"))?;
    namespace.kubectl(&["delete", "modelservice", "wide"]).await?;
    nothing_left(&namespace, &labels("wide")).await
}
