//! The objects that the demo needs beside the chart: engines, their InferencePool, and plain Envoys.

use crate::args::DemoArgs;
use crate::cluster::MODEL;
use crate::demo::TOKENS_PER_CHUNK;
use anyhow::Context;
use serde_json::{Value, json};
use std::net::SocketAddr;
use warmpath_envoy::resources::Lb;
use warmpath_envoy::shipped::ShippedConfig;

/// The port of each engine.
pub(super) const ENGINE_PORT: u16 = 8000;

/// An InferencePool of the pods with the label `app: <app>`.
pub(super) fn pool(app: &str) -> Value {
    json!({
        "apiVersion": "inference.networking.k8s.io/v1",
        "kind": "InferencePool",
        "metadata": {"name": app},
        "spec": {
            "selector": {"matchLabels": {"app": app}},
            "targetPorts": [{"number": ENGINE_PORT}],
            // The definition demands one; Warmpath takes its place.
            "endpointPickerRef": {"name": "none", "port": {"number": 9002}},
        },
    })
}

/// A Deployment of engines, each with a GPU as far as the scheduler knows.
pub(super) fn engines(args: &DemoArgs, app: &str) -> Value {
    let mut arguments: Vec<String> = [
        ("--host", "0.0.0.0".to_owned()),
        ("--port", ENGINE_PORT.to_string()),
        ("--model", MODEL.to_owned()),
        ("--name", "$(POD_NAME)".to_owned()),
        ("--preset", args.preset.to_string()),
        ("--time-scale", args.time_scale.to_string()),
        ("--tokens-per-chunk", TOKENS_PER_CHUNK.to_string()),
    ]
    .into_iter()
    .flat_map(|(name, value)| [name.to_owned(), value])
    .collect();
    if let Some(tokens) = args.kv_tokens {
        arguments.extend(["--kv-tokens".to_owned(), tokens.to_string()]);
    }
    deployment(
        app,
        args.engines,
        &json!({
            "terminationGracePeriodSeconds": 5,
            "containers": [{
                "name": "engine",
                "image": "warmpath/engine:demo",
                "args": arguments,
                "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                "ports": [{"name": "http", "containerPort": ENGINE_PORT}],
                "resources": {"limits": {"nvidia.com/gpu": "1"}},
                "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 1},
            }],
        }),
    )
}

/// The shipped configuration without the filter, for pods.
pub(super) fn plain_config(name: &str, lb: Lb, engines: &[SocketAddr]) -> anyhow::Result<Value> {
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    let file = folder.path().join("envoy.json");
    ShippedConfig::new().engines(engines).without_filter(lb).write(&file)?;
    let mut config: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    let address = config.pointer_mut("/static_resources/listeners/0/address/socket_address/address");
    *address.context("the shipped configuration has no listener")? = json!("0.0.0.0");
    Ok(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"envoy.json": config.to_string()},
    }))
}

/// Envoys with that configuration.
pub(super) fn plain_envoys(name: &str, replicas: u32) -> Value {
    deployment(
        name,
        replicas,
        &json!({
            "terminationGracePeriodSeconds": 2,
            "containers": [{
                "name": "envoy",
                "image": "docker.io/envoyproxy/envoy:demo",
                "args": ["--config-path", "/etc/envoy/envoy.json", "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"],
                "ports": [{"name": "http", "containerPort": 8080}],
                "readinessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 1},
                "volumeMounts": [{"name": "config", "mountPath": "/etc/envoy"}],
            }],
            "volumes": [{"name": "config", "configMap": {"name": name}}],
        }),
    )
}

fn deployment(name: &str, replicas: impl serde::Serialize, spec: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": spec},
        },
    })
}
