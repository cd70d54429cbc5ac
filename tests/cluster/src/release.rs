//! The chart, installed in a namespace with `helm` as users install it, and its controllers' pages.

use crate::cluster::{Cluster, Namespace};
use crate::command::must;
use crate::kubelet::Image;
use crate::manifests::ENGINE_PORT;
use crate::wait::until;
use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use warmpath::api::{PoolState, StatePage};
use warmpath_envoy::{envoy_binary, target_folder};
use warmpath_http::Client;

/// The name of each release: it is alone in its namespace.
const NAME: &str = "warmpath";

/// The controller's port of metrics and state.
const HTTP_PORT: u16 = 18_002;

/// An installed chart.
#[derive(Clone)]
pub struct Release {
    /// Where it is installed.
    pub namespace: Namespace,
    /// The image of its controllers.
    pub image: String,
}

// === impl Cluster ===

impl Cluster {
    /// Adds the images of engines, controller and Envoy.
    pub fn add_own_images(&self) -> anyhow::Result<()> {
        let mut controller = Image::built("warmpath");
        controller.files.push((filter(), "/wasm/warmpath-router.wasm".to_owned()));
        self.images.add("warmpath/controller", controller);
        self.images.add("warmpath/engine", Image::built("warmpath-engine"));
        let envoy = Image::program(&envoy_binary()?, "/usr/local/bin/envoy");
        self.images.add("docker.io/envoyproxy/envoy", envoy);
        self.images.add("busybox", Image::shell());
        Ok(())
    }
}

// === impl Namespace ===

impl Namespace {
    /// Installs the chart with these values beside those that a test needs: one controller, no gateway, quick scrapes.
    pub async fn install(&self, values: &Value) -> anyhow::Result<Release> {
        let release = Release { namespace: self.clone(), image: "warmpath/controller:test".to_owned() };
        release.helm("install", values).await?;
        Ok(release)
    }
}

// === impl Release ===

impl Release {
    /// Changes the values of the release.
    pub async fn upgrade(&self, values: &Value) -> anyhow::Result<()> {
        self.helm("upgrade", values).await
    }

    /// Removes the release.
    pub async fn uninstall(&self) -> anyhow::Result<()> {
        let done = self.namespace.helm(&["uninstall", NAME, "--wait"], "").await?;
        ensure!(done.is_success, "helm uninstall: {}", done.stderr);
        Ok(())
    }

    /// The objects of some templates, which are named without `.yaml`, as this release would have them with these values.
    pub async fn render(&self, values: &Value, templates: &[&str]) -> anyhow::Result<Vec<Value>> {
        let chart = chart();
        let files: Vec<String> = templates.iter().map(|name| format!("templates/{name}.yaml")).collect();
        let version = self.namespace.client.apiserver_version().await?.git_version;
        let mut arguments = vec!["template", NAME, &chart, "--values", "-", "--kube-version", &version];
        for file in &files {
            arguments.extend(["--show-only", file]);
        }
        let rendered = self.namespace.helm(&arguments, &self.values(values).to_string()).await?;
        ensure!(rendered.is_success, "helm template: {}", rendered.stderr);
        // Helm writes YAML.
        let convert =
            self.namespace.cluster.kubectl(&["create", "--dry-run=client", "-o", "json", "-f", "-"])?;
        let converted = must(convert, &rendered.stdout).await?;
        let objects = serde_json::Deserializer::from_str(&converted).into_iter();
        objects.collect::<Result<_, _>>().context("kubectl wrote no JSON")
    }

    async fn helm(&self, command: &str, values: &Value) -> anyhow::Result<()> {
        let values = self.values(values).to_string();
        let done = self.namespace.helm(&[command, NAME, &chart(), "--values", "-"], &values).await?;
        ensure!(done.is_success, "helm {command}: {}", done.stderr);
        Ok(())
    }

    /// These values, and those that every test needs.
    fn values(&self, values: &Value) -> Value {
        let mut all = json!({
            "image": {"controller": self.image},
            "controller": {
                "replicas": 1,
                "log": "info",
                "logFormat": "text",
                "settings": {"scrape": {"interval_ms": 200}},
                "resources": {"requests": {"cpu": "100m"}},
            },
            "gateway": {"kind": "none"},
        });
        merge(&mut all, values);
        all
    }

    /// Waits until so many pods of a component (`controller`, `gateway`) are ready.
    pub async fn ready(&self, component: &str, count: usize) -> anyhow::Result<Vec<Pod>> {
        let labels = format!("app.kubernetes.io/component={component}");
        self.namespace.ready(&labels, count).await
    }

    /// The state as a controller shows it.
    pub async fn state(&self, controller: &Pod) -> anyhow::Result<StatePage> {
        let body = self.get(controller, "/state").await?;
        serde_json::from_str(&body).context("the page of the state is not one")
    }

    /// The metrics page of a controller.
    pub async fn metrics(&self, controller: &Pod) -> anyhow::Result<String> {
        self.get(controller, "/metrics").await
    }

    /// Waits until a controller shows a pool for which `probe` returns something.
    pub async fn pool<T>(
        &self,
        controller: &Pod,
        pool: &str,
        what: &str,
        mut probe: impl FnMut(&PoolState) -> Option<T>,
    ) -> anyhow::Result<T> {
        let name = format!("{}/{pool}", self.namespace.name);
        let mut last = None;
        let what = format!("pool {name} with {what}");
        let found = until(&what, async || {
            let page = self.state(controller).await.ok()?;
            let found = page.pools.iter().find(|pool| pool.name == name).and_then(&mut probe);
            last = Some(page);
            found
        });
        found.await.with_context(|| format!("the last state: {last:?}"))
    }

    /// What a controller has logged.
    pub fn log(&self, controller: &Pod) -> String {
        let name = controller.metadata.name.as_deref().unwrap_or_default();
        self.namespace.log(name, "controller").map(|log| log.text()).unwrap_or_default()
    }

    async fn get(&self, controller: &Pod, path: &str) -> anyhow::Result<String> {
        let address = pod_address(controller, HTTP_PORT)?;
        let response = Client::http1(address).get(path).await?;
        ensure!(response.status.is_success(), "{path}: {}", response.status);
        Ok(String::from_utf8_lossy(&response.body).into_owned())
    }
}

/// Where a pod listens.
pub fn pod_address(pod: &Pod, port: u16) -> anyhow::Result<SocketAddr> {
    let address =
        pod.status.as_ref().and_then(|status| status.pod_ip.as_ref()).context("a pod without address")?;
    Ok(SocketAddr::new(address.parse().context("not an address")?, port))
}

/// Where a pod's engine listens.
pub fn engine_address(pod: &Pod) -> anyhow::Result<SocketAddr> {
    pod_address(pod, ENGINE_PORT)
}

/// The chart's folder.
fn chart() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../controller/chart").display().to_string()
}

/// The built filter.
fn filter() -> PathBuf {
    let built = || target_folder().join("wasm/warmpath-router.wasm");
    env::var_os("WARMPATH_WASM").map_or_else(built, PathBuf::from)
}

/// Puts `more` into `values`, object by object.
fn merge(values: &mut Value, more: &Value) {
    match (values, more) {
        (Value::Object(values), Value::Object(more)) => {
            for (key, value) in more {
                merge(values.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (values, more) => *values = more.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_test_replace_those_of_all_tests() {
        let mut values = json!({"a": {"b": 1, "c": 2}});
        merge(&mut values, &json!({"a": {"b": [3]}, "d": 4}));
        assert_eq!(values, json!({"a": {"b": [3], "c": 2}, "d": 4}));
    }
}
