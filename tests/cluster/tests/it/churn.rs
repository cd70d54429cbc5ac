//! Requests through the chart's Envoys while engines, nodes, controllers and the API server come and go: none is lost.

use crate::engines::{self, pool};
use crate::gateway::values;
use anyhow::{Context, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use warmpath_cluster::{Namespace, Release, Traffic, until};
use warmpath_http::Client;

/// Requests during each change, at least.
const REQUESTS: usize = 1_000;

/// Clients that talk at the same time.
const CLIENTS: usize = 8;

/// The controllers' Lease and Deployment.
const CONTROLLER: &str = "warmpath-controller";

/// Engines that take some milliseconds for a request, and that finish what they have before they end.
fn deployment(replicas: u32) -> Value {
    let mut deployment = engines::deployment("vllm", replicas, "llama");
    let container = &mut deployment["spec"]["template"]["spec"]["containers"][0];
    container["args"] = json!([
        "--host",
        "0.0.0.0",
        "--port",
        "8000",
        "--model",
        "llama",
        "--name",
        "$(POD_NAME)",
        "--preset",
        "llama-3.1-8b-tp1",
        "--time-scale",
        "20",
    ]);
    container["env"] =
        json!([{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]);
    container["lifecycle"] = json!({"preStop": {"sleep": {"seconds": 3}}});
    deployment
}

/// Engines, the chart, and clients that talk.
async fn talking(namespace: &Namespace, engines: Value, count: usize) -> anyhow::Result<(Release, Traffic)> {
    namespace.apply(pool("llama", "vllm")).await?;
    namespace.apply(engines).await?;
    namespace.ready("app=vllm", count).await?;
    let release = namespace.install(&values()).await?;
    release.ready("gateway", 2).await?;
    release.ready("controller", 2).await?;
    let gateway = namespace.service("warmpath-gateway").await?;
    // Ready pods are endpoints of their Service a moment later; until then it closes connections.
    let client = Client::http1(gateway);
    let body = json!({"model": "llama", "max_tokens": 1, "messages": [{"role": "user", "content": "begin"}]});
    until("a response through the Service", async || {
        let response = client.post_json("/v1/chat/completions", &body).await.ok()?;
        response.status.is_success().then_some(())
    })
    .await?;
    let traffic = Traffic::start(gateway, "llama", CLIENTS);
    traffic.more(REQUESTS / 10).await?;
    Ok((release, traffic))
}

/// Fails when a request was lost, with what was done to the cluster.
fn lost_none(traffic: &Traffic, during: &str) -> anyhow::Result<()> {
    let tally = traffic.tally();
    ensure!(
        tally.lost.is_empty(),
        "{} of {} requests lost, {during}: {:?}",
        tally.lost.len(),
        tally.served + tally.lost.len(),
        tally.lost.iter().take(5).collect::<Vec<_>>()
    );
    let slowest_ms = tally.slowest.as_millis();
    println!(
        "{} requests, none lost, {} warm, the slowest {slowest_ms} ms: {during}",
        tally.served, tally.warm
    );
    Ok(())
}

async fn scale(namespace: &Namespace, name: &str, replicas: u32) -> anyhow::Result<()> {
    let deployments: Api<Deployment> = namespace.api();
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    deployments.patch(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Waits until a Deployment has only new pods, all of them available.
async fn rolled_out(namespace: &Namespace, name: &str) -> anyhow::Result<()> {
    let deployments: Api<Deployment> = namespace.api();
    until(&format!("the rollout of {name}"), async || {
        let deployment = deployments.get(name).await.ok()?;
        let (wanted, status) = (deployment.spec?.replicas?, deployment.status?);
        let is_seen = status.observed_generation >= deployment.metadata.generation;
        let counts = [status.replicas, status.updated_replicas, status.available_replicas];
        (is_seen && counts == [Some(wanted); 3]).then_some(())
    })
    .await
}

/// The pod that holds the Lease of the controllers.
async fn leader(namespace: &Namespace) -> anyhow::Result<Pod> {
    let leases: Api<Lease> = namespace.api();
    let labels = "app.kubernetes.io/component=controller";
    until("a controller that holds the Lease", async || {
        let holder = leases.get(CONTROLLER).await.ok()?.spec?.holder_identity?;
        let pods = namespace.pods(labels).await.ok()?;
        pods.into_iter().find(|pod| pod.metadata.name.as_ref().is_some_and(|name| holder.contains(name)))
    })
    .await
}

pub(crate) async fn no_request_is_lost_while_engines_change(namespace: Namespace) -> anyhow::Result<()> {
    let (_release, traffic) = talking(&namespace, deployment(4), 4).await?;
    for count in [8, 2] {
        scale(&namespace, "vllm", count).await?;
        namespace.ready("app=vllm", count.try_into()?).await?;
        traffic.more(REQUESTS).await?;
        lost_none(&traffic, &format!("scaled to {count} engines"))?;
    }
    scale(&namespace, "vllm", 4).await?;
    namespace.ready("app=vllm", 4).await?;
    let restarted = namespace.kubectl(&["rollout", "restart", "deployment", "vllm"]).await?;
    ensure!(restarted.is_success, "{}", restarted.stderr);
    rolled_out(&namespace, "vllm").await?;
    traffic.more(REQUESTS).await?;
    lost_none(&traffic, "all engines replaced by new ones")?;
    let pods = namespace.ready("app=vllm", 4).await?;
    namespace.kill(&pods[0]).await?;
    traffic.more(REQUESTS).await?;
    lost_none(&traffic, "an engine killed")?;
    let tally = traffic.stop().await;
    ensure!(tally.warm * 2 > tally.served, "prompts were found again in {} of {}", tally.warm, tally.served);
    Ok(())
}

pub(crate) async fn no_request_is_lost_with_a_node(namespace: Namespace) -> anyhow::Result<()> {
    let labels = BTreeMap::from([("pool".to_owned(), namespace.name.clone())]);
    let taint = Some(namespace.name.as_str());
    let lost = namespace.cluster.node("churn-1", labels.clone(), taint).await?;
    let other = namespace.cluster.node("churn-2", labels, taint).await?;
    for node in [&lost, &other] {
        node.schedulable().await?;
    }
    let mut engines = deployment(4);
    let spec = &mut engines["spec"]["template"]["spec"];
    spec["nodeSelector"] = json!({"pool": namespace.name});
    spec["tolerations"] = json!([{"key": namespace.name, "operator": "Exists"}]);
    spec["topologySpreadConstraints"] = json!([{
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "vllm"}},
        // A node that is gone takes no part.
        "nodeTaintsPolicy": "Honor",
    }]);
    let (_release, traffic) = talking(&namespace, engines, 4).await?;
    lost.power_off().await?;
    traffic.more(REQUESTS).await?;
    lost_none(&traffic, "a node lost")?;
    namespace.ready("app=vllm", 4).await?;
    traffic.more(REQUESTS).await?;
    lost_none(&traffic, "its pods replaced")
}

pub(crate) async fn no_request_is_lost_while_controllers_change(namespace: Namespace) -> anyhow::Result<()> {
    let (release, traffic) = talking(&namespace, deployment(4), 4).await?;
    let first = leader(&namespace).await?;
    namespace.kill(&first).await?;
    traffic.more(REQUESTS).await?;
    lost_none(&traffic, "the leading controller killed")?;
    release.ready("controller", 2).await?;
    let leases: Api<Lease> = namespace.api();
    let stolen = json!({"spec": {"holderIdentity": "somebody-else"}});
    leases.patch(CONTROLLER, &PatchParams::default(), &Patch::Merge(stolen)).await?;
    traffic.more(REQUESTS).await?;
    lost_none(&traffic, "the Lease stolen")?;
    leader(&namespace).await.context("nobody took the stolen Lease back")?;
    scale(&namespace, CONTROLLER, 0).await?;
    release.ready("controller", 0).await?;
    traffic.more(REQUESTS).await?;
    lost_none(&traffic, "no controller")?;
    scale(&namespace, CONTROLLER, 2).await?;
    release.ready("controller", 2).await?;
    let mut changed = values();
    changed["controller"]["log"] = json!("debug");
    changed["gateway"]["logLevel"] = json!("info");
    release.upgrade(&changed).await?;
    rolled_out(&namespace, CONTROLLER).await?;
    rolled_out(&namespace, "warmpath-gateway").await?;
    traffic.more(REQUESTS).await?;
    lost_none(&traffic, "the chart upgraded")
}

pub(crate) async fn no_request_is_lost_without_the_api_server(namespace: Namespace) -> anyhow::Result<()> {
    let (_release, traffic) = talking(&namespace, deployment(4), 4).await?;
    namespace.cluster.control_plane.kill_api_server().await;
    traffic.more(REQUESTS).await?;
    namespace.cluster.control_plane.start_api_server().await?;
    lost_none(&traffic, "no API server")?;
    scale(&namespace, "vllm", 5).await?;
    namespace.ready("app=vllm", 5).await?;
    traffic.more(REQUESTS).await?;
    lost_none(&traffic, "the API server back")
}
