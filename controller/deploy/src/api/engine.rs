//! The inference engine.

use super::Env;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The inference engine, and what it gets beside what follows from the other fields.
#[derive(Clone, Debug, JsonSchema, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Engine {
    /// Which one.
    #[serde(default)]
    pub kind: EngineKind,
    /// Its image. Default: the engine's release for the hardware, which `warmpath plan` shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// When the image is pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<PullPolicy>,
    /// Names of Secrets with credentials of registries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 253)))]
    pub pull_secrets: Vec<String>,
    /// Further arguments. One that Warmpath would set itself is left as it is written here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(min = 1, max = 8192)))]
    pub args: Vec<String>,
    /// Further environment variables. They replace those of the same name that Warmpath would set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub env: Vec<Env>,
    /// A patch of the pod template, `metadata` and `spec`: lists are merged by name, as `kubectl patch` does. The engine's container has
    /// the name `engine`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "patch_schema")]
    pub pod_template: Map<String, Value>,
}

/// Engines that Warmpath can start.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// vLLM.
    #[default]
    Vllm,
    /// SGLang.
    Sglang,
    /// TensorRT-LLM.
    Trtllm,
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Eq, Serialize, Deserialize)]
pub enum PullPolicy {
    /// For each new pod.
    Always,
    /// When the node does not have it.
    IfNotPresent,
    /// Never.
    Never,
}

// === impl EngineKind ===

impl EngineKind {
    /// The engine's own spelling, for messages.
    pub fn title(self) -> &'static str {
        match self {
            Self::Vllm => "vLLM",
            Self::Sglang => "SGLang",
            Self::Trtllm => "TensorRT-LLM",
        }
    }
}

/// Any fields: they are those of a pod template, which the API server checks when the workload is applied.
pub(super) fn patch_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}
