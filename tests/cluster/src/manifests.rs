//! The objects that a cluster with a model has before Warmpath comes: engines, and their InferencePool.

use serde_json::{Value, json};

/// The port of each engine, at its pod's address.
pub const ENGINE_PORT: u16 = 8000;

/// Simulated engines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engines {
    /// The model that they serve.
    pub model: String,
    /// Further arguments of `warmpath-engine`.
    pub arguments: Vec<String>,
    /// The GPUs of each, as far as the scheduler knows.
    pub gpus: u32,
}

// === impl Engines ===

impl Engines {
    /// Engines with these arguments more.
    pub fn new(model: &str, arguments: &[&str]) -> Self {
        Self {
            model: model.to_owned(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            gpus: 0,
        }
    }

    /// Engines that take no time.
    pub fn instant(model: &str) -> Self {
        Self::new(model, &["--preset", "instant"])
    }

    /// The spec of a pod with one engine, whose responses name the pod.
    pub fn spec(&self) -> Value {
        let own = [
            "--host",
            "0.0.0.0",
            "--port",
            &ENGINE_PORT.to_string(),
            "--model",
            &self.model,
            "--name",
            "$(POD_NAME)",
        ]
        .map(str::to_owned);
        let arguments: Vec<&String> = own.iter().chain(&self.arguments).collect();
        let resources = match self.gpus {
            0 => json!({}),
            gpus => json!({"limits": {"nvidia.com/gpu": gpus.to_string()}}),
        };
        json!({
            "terminationGracePeriodSeconds": 10,
            "containers": [{
                "name": "engine",
                "image": "warmpath/engine:test",
                "args": arguments,
                "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                "ports": [{"name": "http", "containerPort": ENGINE_PORT}],
                "resources": resources,
                "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 1},
            }],
        })
    }

    /// So many of them in a Deployment, with the label `app: <name>`.
    pub fn deployment(&self, name: &str, replicas: usize) -> Value {
        deployment(name, replicas, &self.spec())
    }
}

/// A Deployment of pods with the label `app: <name>`.
pub fn deployment(name: &str, replicas: usize, spec: &Value) -> Value {
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

/// An InferencePool of the engines with the label `app: <app>`.
pub fn pool(name: &str, app: &str) -> Value {
    json!({
        "apiVersion": "inference.networking.k8s.io/v1",
        "kind": "InferencePool",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": app}},
            "targetPorts": [{"number": ENGINE_PORT}],
            // The definition demands one; Warmpath takes its place.
            "endpointPickerRef": {"name": "none", "port": {"number": 9002}},
        },
    })
}
