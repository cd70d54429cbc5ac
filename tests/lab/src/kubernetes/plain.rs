//! The same requests through plain Envoy, to the same engines: what routing gains.
//!
//! An Envoy without the filter sends each request to the next engine. Its requests come before ours, and share no text with them, so
//! that each way begins without anything of its own in the caches.

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use warmpath_cluster::manifests::deployment;
use warmpath_cluster::{Namespace, Tally, Traffic, engine_address, pod_address};
use warmpath_envoy::resources::Lb;
use warmpath_envoy::shipped::ShippedConfig;
use warmpath_report::{Row, Table};

/// The Deployment, its label and its configuration.
const NAME: &str = "plain-envoy";

/// The port of the shipped configuration.
const PORT: u16 = 8080;

/// What a number of requests came to.
#[derive(Clone, Debug)]
pub(super) struct Part {
    way: &'static str,
    tally: Tally,
    time: Duration,
}

// === impl Part ===

impl Part {
    /// Sends at least so many requests this way.
    pub(super) async fn play(way: &'static str, traffic: &Traffic, requests: usize) -> anyhow::Result<Self> {
        let begun = Instant::now();
        traffic.more(requests).await?;
        let tally = traffic.tally();
        ensure!(tally.lost.is_empty(), "{way}: lost: {:?}", tally.lost.iter().take(5).collect::<Vec<_>>());
        Ok(Self { way, tally, time: begun.elapsed() })
    }

    fn row(&self) -> Row {
        let Self { way, tally, time } = self;
        let share = |part: usize, of: usize| 100.0 * part as f64 / of.max(1) as f64;
        Row::from([
            (*way).to_owned(),
            tally.served.to_string(),
            format!("{:.0}", tally.served as f64 / time.as_secs_f64()),
            format!("{:.0} %", share(tally.cached_tokens, tally.prompt_tokens)),
            format!("{:.0} ms", tally.waited.as_secs_f64() * 1e3 / tally.served.max(1) as f64),
        ])
    }
}

/// Both ways side by side.
pub(super) fn table(parts: &[Part]) -> Table {
    let header = ["", "requests", "a second of wall time", "prompt tokens from a cache", "mean wall time"];
    Table::new(header, parts.iter().map(Part::row))
}

/// Starts a plain Envoy, sends requests through it, and removes it.
pub(super) async fn play(
    namespace: &Namespace,
    model: &str,
    engines: &[Pod],
    clients: usize,
    requests: usize,
) -> anyhow::Result<Part> {
    let addresses: Vec<SocketAddr> = engines.iter().map(engine_address).collect::<anyhow::Result<_>>()?;
    namespace.apply(configuration(&addresses)?).await?;
    namespace.apply(envoy()).await?;
    let pods = namespace.ready(&format!("app={NAME}"), 1).await?;
    let gateway = pod_address(pods.first().context("no Envoy")?, PORT)?;
    let traffic = Traffic::start(gateway, model, "plain", clients);
    let part = Part::play("plain Envoy, the next engine in turn", &traffic, requests).await?;
    traffic.stop().await;
    namespace.kubectl(&["delete", "deployment,configmap", NAME]).await?;
    Ok(part)
}

/// The shipped configuration without the filter, for a pod.
fn configuration(engines: &[SocketAddr]) -> anyhow::Result<Value> {
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    let file = folder.path().join("envoy.json");
    ShippedConfig::new().engines(engines).without_filter(Lb::RoundRobin).write(&file)?;
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

fn envoy() -> Value {
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
    deployment(NAME, 1, &spec)
}
