//! The objects that the demo needs beside the chart and the pool: its engines, and plain Envoys.

use crate::args::DemoArgs;
use crate::cluster::MODEL;
use crate::demo::TOKENS_PER_CHUNK;
use anyhow::Context;
use serde_json::{Value, json};
use std::net::SocketAddr;
use warmpath_cluster::manifests::{Engines, deployment};
use warmpath_envoy::resources::Lb;
use warmpath_envoy::shipped::ShippedConfig;

/// A Deployment of engines, each with a GPU as far as the scheduler knows.
pub(super) fn engines(args: &DemoArgs, app: &str) -> Value {
    let [preset, time_scale, chunk] =
        [args.preset.to_string(), args.time_scale.to_string(), TOKENS_PER_CHUNK.to_string()];
    let mut engines = Engines::new(
        MODEL,
        &["--preset", &preset, "--time-scale", &time_scale, "--tokens-per-chunk", &chunk],
    );
    if let Some(tokens) = args.kv_tokens {
        engines.arguments.extend(["--kv-tokens".to_owned(), tokens.to_string()]);
    }
    engines.gpus = 1;
    engines.deployment(app, args.engines)
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
pub(super) fn plain_envoys(name: &str, replicas: usize) -> Value {
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
