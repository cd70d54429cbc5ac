//! The tiers of an engine's KV cache.

use super::{Amount, Volume};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The tiers of an engine's KV cache. What one has no room for goes to the next.
#[derive(Clone, Debug, KubeSchema, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!has(self.nvme) || has(self.cpu)").message("nvme: add cpu, through which engines move what they store on disks").field_path(".nvme"))]
pub struct KvCache {
    /// The devices' memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuTier>,
    /// The host's memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuTier>,
    /// A local disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvme: Option<NvmeTier>,
    /// A store that all engines share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<SharedStore>,
}

/// The devices' memory.
#[derive(Clone, Debug, JsonSchema, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GpuTier {
    /// The share of a device's memory that the engine takes, weights included, in percent. Default: the engine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 99))]
    pub memory_percent: Option<u32>,
    /// Tokens of a block. Default: the engine's for the hardware.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub block_tokens: Option<u32>,
    /// The type of stored keys and values, for example `fp8`. Default: the model's. Engines have different names for some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub data_type: Option<String>,
}

/// The host's memory.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CpuTier {
    /// Its size in each pod, for all devices of the pod together.
    pub size: Amount,
}

/// A local disk.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NvmeTier {
    /// Its size in each pod. Engines do not limit what they store: it is the size of the volume, where the volume has one.
    pub size: Amount,
    /// The volume.
    pub volume: Volume,
    /// Where the container has it.
    #[serde(default = "nvme_path")]
    #[schemars(length(min = 2, max = 512))]
    pub path: String,
}

/// A store that all engines share: exactly one of these.
#[derive(Clone, Debug, KubeSchema, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.claim), has(self.mooncake)].filter(x, x).size() == 1").message("name exactly one of claim and mooncake"))]
pub struct SharedStore {
    /// A ReadWriteMany PersistentVolumeClaim, in the namespace of the ModelService.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub claim: Option<String>,
    /// A Mooncake store that is there already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mooncake: Option<MooncakeStore>,
}

/// A Mooncake store.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MooncakeStore {
    /// Its master, `host:port`.
    #[schemars(length(min = 3, max = 253))]
    pub master: String,
    /// Its metadata server, a URL. Default: peers find each other without one (`P2PHANDSHAKE`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub metadata_server: Option<String>,
    /// Host memory that each pod adds to the store, for all its devices together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<Amount>,
}

fn nvme_path() -> String {
    "/kv".to_owned()
}
