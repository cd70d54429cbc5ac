//! Deployments of simulated engines.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use std::net::SocketAddr;
use warmpath_cluster::{Namespace, until};

/// The port of each engine, at its pod's address.
pub(crate) const PORT: u16 = 8000;

/// A Deployment of engines that serve `model`, with the label `app: <name>`.
pub(crate) fn deployment(name: &str, replicas: u32, model: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": spec(model)},
        },
    })
}

/// The spec of a pod with one engine.
pub(crate) fn spec(model: &str) -> Value {
    json!({
        "terminationGracePeriodSeconds": 10,
        "containers": [{
            "name": "engine",
            "image": "warmpath/engine:test",
            "args": ["--host", "0.0.0.0", "--port", PORT.to_string(), "--model", model, "--preset", "instant"],
            "ports": [{"name": "http", "containerPort": PORT}],
            "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 1},
        }],
    })
}

/// Waits until as many pods of `labels` are ready, and returns them.
pub(crate) async fn ready(namespace: &Namespace, labels: &str, count: usize) -> anyhow::Result<Vec<Pod>> {
    until(&format!("{count} ready pods of {labels}"), async || {
        let pods = namespace.pods(labels).await.ok()?;
        let ready: Vec<Pod> = pods.into_iter().filter(is_ready).collect();
        (ready.len() == count).then_some(ready)
    })
    .await
}

/// Whether a pod may get requests.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut ready = conditions.filter(|condition| condition.type_ == "Ready");
    pod.metadata.deletion_timestamp.is_none() && ready.any(|condition| condition.status == "True")
}

/// Where a pod's engine listens.
pub(crate) fn address(pod: &Pod) -> SocketAddr {
    let address = pod.status.as_ref().unwrap().pod_ip.as_ref().unwrap();
    SocketAddr::new(address.parse().unwrap(), PORT)
}
