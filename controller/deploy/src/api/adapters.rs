//! LoRA adapters.

use super::Source;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// LoRA adapters, and how many an engine has at a time.
#[derive(Clone, Debug, KubeSchema, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Adapters {
    /// The adapters.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.all(a, self.filter(b, b.name == a.name).size() == 1)").message("give each adapter a name of its own"))]
    pub list: Vec<Adapter>,
    /// Adapters that an engine computes with at a time. Default: as many as are pinned, and at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub active_max: Option<u32>,
    /// The highest rank of any of them. Default: the engine's, which is 16 with vLLM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 512))]
    pub rank_max: Option<u32>,
}

/// A LoRA adapter.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Adapter {
    /// The name that requests use as their model.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?$"))]
    pub name: String,
    /// Where its files come from.
    pub source: Source,
    /// When it is loaded.
    #[serde(default)]
    pub load: AdapterLoad,
}

/// When an adapter is loaded.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AdapterLoad {
    /// When the engine starts, and for as long as it runs.
    #[default]
    Pinned,
    /// With the first request that names it. Only from a claim or an image, and with vLLM.
    OnDemand,
}
