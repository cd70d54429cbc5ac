//! Deployments of simulated engines.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use std::net::SocketAddr;
use warmpath_cluster::pod_address;

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

/// Where a pod's engine listens.
pub(crate) fn address(pod: &Pod) -> SocketAddr {
    pod_address(pod, PORT).unwrap()
}

/// An InferencePool of the pods with the label `app: <app>`.
pub(crate) fn pool(name: &str, app: &str) -> Value {
    json!({
        "apiVersion": "inference.networking.k8s.io/v1",
        "kind": "InferencePool",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": app}},
            "targetPorts": [{"number": PORT}],
            "endpointPickerRef": {"name": "none", "port": {"number": 9002}},
        },
    })
}
