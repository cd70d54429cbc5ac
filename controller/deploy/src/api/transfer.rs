//! How prefill engines pass KV on to decode engines.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How prefill engines pass KV on to decode engines.
#[derive(Clone, Debug, KubeSchema, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!has(self.backend) || self.protocol == 'nixl'").message("backend: only nixl has backends; remove it").field_path(".backend"))]
pub struct Transfer {
    /// The library that moves it.
    #[serde(default)]
    pub protocol: TransferProtocol,
    /// What NIXL moves it with. Default: UCX.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<NixlBackend>,
    /// Whether engines on accelerators of different vendors may try. Their KV then passes through the host's memory, and its layout is
    /// converted; nothing but a test with your model shows that the result is right.
    #[serde(default)]
    pub across_vendors: bool,
    /// RDMA devices of each pod. Without them, KV goes over the pods' own network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rdma: Option<Rdma>,
    /// The port of NIXL's side channel; the ranks of a pod use the next ones. Default: 5600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 65000))]
    pub side_channel_port: Option<u16>,
    /// The port of bootstrap servers (SGLang, Mooncake). Default: 8998.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 65000))]
    pub bootstrap_port: Option<u16>,
    /// The proxy's cluster through which prefill legs reach engines. Default: that of the client's route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub cluster: Option<String>,
}

/// Libraries that move KV.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransferProtocol {
    /// NIXL.
    #[default]
    Nixl,
    /// Mooncake's transfer engine.
    Mooncake,
}

/// What NIXL moves KV with.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NixlBackend {
    /// UCX.
    Ucx,
    /// UCCL.
    Uccl,
}

/// RDMA devices of a pod.
#[derive(Clone, Debug, JsonSchema, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rdma {
    /// The resource of their device plugin, for example `rdma/ib`.
    #[schemars(length(min = 3, max = 316))]
    pub resource: String,
    /// How many each pod gets.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 64))]
    pub count: u32,
}

fn one() -> u32 {
    1
}
