//! The inference engine.

use super::Additions;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// What is added to its containers and pods.
    #[serde(flatten)]
    pub additions: Additions,
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
