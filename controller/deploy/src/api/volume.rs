//! Volumes that hold caches.

use super::Amount;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A volume: exactly one of these.
#[derive(Clone, Debug, KubeSchema, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.ephemeral), has(self.hostPath), has(self.claim)].filter(x, x).size() == 1").message("name exactly one of ephemeral, hostPath and claim"))]
pub struct Volume {
    /// One that is made with the pod, and goes with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral: Option<EphemeralVolume>,
    /// A directory of the node. It outlives the pod, and pods on one node share it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_path: Option<HostPathVolume>,
    /// A PersistentVolumeClaim that is there already. Several pods need ReadWriteMany.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<ClaimVolume>,
}

/// A volume that is made with the pod.
#[derive(Clone, Debug, JsonSchema, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EphemeralVolume {
    /// The storage class. Default: an emptyDir on the node's own disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class: Option<String>,
    /// Its size. Required where nothing else states one, with a storage class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Amount>,
}

/// A directory of the node.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostPathVolume {
    /// Where it is on the node. It is created if it is not there.
    #[schemars(length(min = 2, max = 512), regex(pattern = "^/"))]
    pub path: String,
}

/// A PersistentVolumeClaim.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimVolume {
    /// Its name, in the namespace of the ModelService.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}
