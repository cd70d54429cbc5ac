//! The chart, rendered by the real `helm`: only Helm itself knows exactly what its templates mean.

use serde_json::Value;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use warmpath_envoy::target_folder;

/// The version of Kubernetes for which charts are rendered.
const KUBE_VERSION: &str = "1.36.0";

/// The name of the release, and its namespace.
const RELEASE: &str = "warmpath";
const NAMESPACE: &str = "llm";

/// One rendering of the chart: its values.
#[derive(Clone, Debug)]
pub struct Chart {
    values: Value,
}

/// The objects of a rendering.
#[derive(Clone, Debug)]
pub struct Manifests {
    text: String,
    objects: Vec<Value>,
}

/// There is no rendering.
#[derive(Debug, thiserror::Error)]
pub enum ChartError {
    /// Helm is not installed.
    #[error("no helm at {path}: run tests/cluster/install-control-plane, or set WARMPATH_HELM")]
    NoHelm {
        /// Where it should be.
        path: PathBuf,
    },
    /// Helm cannot be run, or has no file to read.
    #[error("cannot {action}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Helm refuses the values.
    #[error("{0}")]
    Refused(String),
    /// What it rendered is not YAML.
    #[error("not yaml")]
    Yaml(#[source] serde_saphyr::Error),
}

// === impl Chart ===

impl Chart {
    /// The release `warmpath` in the namespace `llm`, with these values, as YAML.
    pub fn new(values: &str) -> Result<Self, ChartError> {
        let values = serde_saphyr::from_str::<Option<Value>>(values).map_err(ChartError::Yaml)?;
        let values = values.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        Ok(Self { values })
    }

    /// The same with another value at a JSON pointer, whose parents are made where they are missing.
    #[must_use]
    pub fn with(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        let mut place = &mut self.values;
        for field in pointer.split('/').skip(1) {
            if !place.is_object() {
                *place = Value::Object(serde_json::Map::new());
            }
            place = &mut place[field];
        }
        *place = value.into();
        self
    }

    /// Runs `helm template`.
    pub fn render(&self) -> Result<Manifests, ChartError> {
        Manifests::parse(self.helm("template", &[])?)
    }

    /// Runs `helm lint`, which also renders `NOTES.txt`.
    pub fn lint(&self) -> Result<String, ChartError> {
        self.helm("lint", &["--strict"])
    }

    fn helm(&self, command: &str, more: &[&str]) -> Result<String, ChartError> {
        let folder = tempfile::tempdir().map_err(io_error("make a folder"))?;
        let values = folder.path().join("values.json");
        fs::write(&values, self.values.to_string()).map_err(io_error("write the values"))?;
        let mut helm = Command::new(helm_binary()?);
        helm.arg(command);
        if command == "template" {
            helm.arg(RELEASE);
        }
        let output = helm
            .arg(chart_folder())
            .args(["--namespace", NAMESPACE, "--kube-version", KUBE_VERSION, "--values"])
            .arg(&values)
            .args(more)
            // Neither the user's settings nor a cluster.
            .env_clear()
            .env("HOME", folder.path())
            .output()
            .map_err(io_error("run helm"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(ChartError::Refused(refusal(&output.stdout, &output.stderr)))
    }
}

// === impl Manifests ===

impl Manifests {
    /// Documents of YAML.
    pub fn parse(text: String) -> Result<Self, ChartError> {
        let objects = serde_saphyr::from_multiple::<Option<Value>>(&text).map_err(ChartError::Yaml)?;
        Ok(Self { text, objects: objects.into_iter().flatten().collect() })
    }

    /// The text, as Helm wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The objects, in their order.
    pub fn objects(&self) -> &[Value] {
        &self.objects
    }

    /// The object of a kind with a name.
    pub fn object(&self, kind: &str, name: &str) -> Option<&Value> {
        let is_it = |object: &&Value| {
            object.pointer("/kind").is_some_and(|found| found == kind)
                && object.pointer("/metadata/name").is_some_and(|found| found == name)
        };
        self.objects.iter().find(is_it)
    }

    /// All objects of a kind.
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        let kind = kind.to_owned();
        self.objects.iter().filter(move |object| object.pointer("/kind").is_some_and(|found| *found == *kind))
    }
}

/// Where the chart is.
pub fn chart_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../controller/chart")
}

fn helm_binary() -> Result<PathBuf, ChartError> {
    let installed = || target_folder().join("tools/control-plane/helm");
    let path = std::env::var_os("WARMPATH_HELM").map_or_else(installed, PathBuf::from);
    if path.is_file() { Ok(path) } else { Err(ChartError::NoHelm { path }) }
}

/// What Helm says of values, without its remarks on links and on options.
fn refusal(stdout: &[u8], stderr: &[u8]) -> String {
    let text = [stdout, stderr].map(String::from_utf8_lossy).join("\n");
    let is_remark = |line: &&str| line.contains("walk.go:") || line.contains("Use --debug flag");
    let lines = text.lines().filter(|line| !is_remark(line) && !line.trim().is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

fn io_error(action: &'static str) -> impl FnOnce(io::Error) -> ChartError {
    move |source| ChartError::Io { action, source }
}
