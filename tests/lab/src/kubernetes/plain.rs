//! Plain Envoys in front of the same engines: the shipped configuration without the filter.

use anyhow::Context;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use std::net::SocketAddr;
use warmpath_cluster::Namespace;
use warmpath_cluster::manifests::deployment;
use warmpath_envoy::resources::Lb;
use warmpath_envoy::shipped::ShippedConfig;

/// The Deployment, its label and its configuration.
const NAME: &str = "plain-envoy";

/// The port of the shipped configuration.
const PORT: u16 = 8080;

/// Starts so many plain Envoys, which choose by this policy.
pub(super) async fn start(
    namespace: &Namespace,
    engines: &[SocketAddr],
    count: usize,
    lb: Lb,
) -> anyhow::Result<Vec<Pod>> {
    namespace.apply(configuration(engines, lb)?).await?;
    namespace.apply(envoys(count)).await?;
    namespace.ready(&format!("app={NAME}"), count).await
}

/// Removes them.
pub(super) async fn remove(namespace: &Namespace) -> anyhow::Result<()> {
    namespace.kubectl(&["delete", "deployment,configmap", NAME]).await?;
    namespace.ready(&format!("app={NAME}"), 0).await?;
    Ok(())
}

/// The shipped configuration without the filter, for a pod.
fn configuration(engines: &[SocketAddr], lb: Lb) -> anyhow::Result<Value> {
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    let file = folder.path().join("envoy.json");
    ShippedConfig::new().engines(engines).without_filter(lb).write(&file)?;
    let mut config: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    let address = config.pointer_mut("/static_resources/listeners/0/address/socket_address/address");
    *address.context("the shipped configuration has no listener")? = json!("0.0.0.0");
    Ok(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": NAME},
        "data": {"envoy.json": config.to_string()},
    }))
}

fn envoys(count: usize) -> Value {
    let spec = json!({
        "terminationGracePeriodSeconds": 2,
        "containers": [{
            "name": "envoy",
            "image": "docker.io/envoyproxy/envoy:demo",
            "args": ["--config-path", "/etc/envoy/envoy.json", "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"],
            "ports": [{"name": "http", "containerPort": PORT}],
            "readinessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 1},
            "volumeMounts": [{"name": "config", "mountPath": "/etc/envoy"}],
        }],
        "volumes": [{"name": "config", "configMap": {"name": NAME}}],
    });
    deployment(NAME, count, &spec)
}
