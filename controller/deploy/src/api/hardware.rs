//! What a pod runs on.

use super::Amount;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a pod runs on: exactly one of `gpu`, `resources` and `claims`.
#[derive(Clone, Debug, KubeSchema, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.gpu), has(self.resources), has(self.claims)].filter(x, x).size() == 1").message("name exactly one of gpu, resources and claims"))]
pub struct Hardware {
    /// An accelerator that Warmpath knows: resource, nodes, image and flags follow from its type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Gpu>,
    /// An accelerator that it does not know, by the resource of its device plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Devices by dynamic resource allocation (DRA), with a claim for each pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<Claim>,
    /// Cores and memory of each pod. Default: what the tiers in host memory need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<HostRequests>,
    /// Further labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Further taints that are tolerated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Toleration>,
}

/// An accelerator that Warmpath knows.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gpu {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: GpuType,
    /// How many a node has. Default: what nodes with it usually have (8; TPU v5e and v6e: 4 or 8). A replica that needs more takes
    /// several nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub per_node: Option<u32>,
}

/// Accelerators with a preset.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum GpuType {
    /// NVIDIA H100.
    #[serde(rename = "nvidia-h100")]
    NvidiaH100,
    /// NVIDIA H200.
    #[serde(rename = "nvidia-h200")]
    NvidiaH200,
    /// NVIDIA B200.
    #[serde(rename = "nvidia-b200")]
    NvidiaB200,
    /// NVIDIA A100.
    #[serde(rename = "nvidia-a100")]
    NvidiaA100,
    /// NVIDIA L40S.
    #[serde(rename = "nvidia-l40s")]
    NvidiaL40s,
    /// AMD Instinct MI300X.
    #[serde(rename = "amd-mi300x")]
    AmdMi300x,
    /// AMD Instinct MI355X.
    #[serde(rename = "amd-mi355x")]
    AmdMi355x,
    /// Intel Gaudi 3.
    #[serde(rename = "intel-gaudi3")]
    IntelGaudi3,
    /// Google TPU v5e.
    #[serde(rename = "google-tpu-v5e")]
    GoogleTpuV5e,
    /// Google TPU v6e (Trillium).
    #[serde(rename = "google-tpu-v6e")]
    GoogleTpuV6e,
    /// No accelerator.
    #[serde(rename = "cpu")]
    Cpu,
}

/// Whose accelerator it is, from which it follows which images run on it, and with whom it can exchange KV.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vendor {
    /// NVIDIA.
    Nvidia,
    /// AMD.
    Amd,
    /// Intel.
    Intel,
    /// Google.
    Google,
    /// No accelerator.
    Cpu,
    /// Any other.
    Other,
}

/// An accelerator by the resource of its device plugin.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// The resource, for example `nvidia.com/gpu` or `nvidia.com/mig-3g.40gb`.
    #[schemars(length(min = 3, max = 316))]
    pub name: String,
    /// Whose it is.
    pub vendor: Vendor,
    /// How many a node has.
    #[schemars(range(min = 1, max = 64))]
    pub per_node: u32,
}

/// Devices by dynamic resource allocation.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Claim {
    /// The DeviceClass, for example `gpu.nvidia.com`.
    #[schemars(length(min = 1, max = 253))]
    pub device_class: String,
    /// Whose it is.
    pub vendor: Vendor,
    /// How many a node has.
    #[schemars(range(min = 1, max = 64))]
    pub per_node: u32,
    /// CEL expressions that a device must satisfy, all of them, for example
    /// `device.attributes["gpu.nvidia.com"].productName.lowerAscii().contains("h100")`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 4096)))]
    pub selectors: Vec<String>,
}

/// Cores and memory of a pod.
#[derive(Clone, Debug, JsonSchema, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostRequests {
    /// Cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Amount>,
    /// Memory, tiers and shared memory included. It is also the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Amount>,
}

/// A taint that is tolerated.
#[derive(Clone, Debug, JsonSchema, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Toleration {
    /// The taint's key. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 316))]
    pub key: Option<String>,
    /// `Exists` or `Equal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub operator: Option<String>,
    /// The taint's value, with `Equal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub effect: Option<String>,
}

// === impl GpuType ===

impl GpuType {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 11] = [
        Self::NvidiaH100,
        Self::NvidiaH200,
        Self::NvidiaB200,
        Self::NvidiaA100,
        Self::NvidiaL40s,
        Self::AmdMi300x,
        Self::AmdMi355x,
        Self::IntelGaudi3,
        Self::GoogleTpuV5e,
        Self::GoogleTpuV6e,
        Self::Cpu,
    ];
}

// === impl Vendor ===

impl Vendor {
    /// As it is written in a ModelService.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nvidia => "nvidia",
            Self::Amd => "amd",
            Self::Intel => "intel",
            Self::Google => "google",
            Self::Cpu => "cpu",
            Self::Other => "other",
        }
    }
}
