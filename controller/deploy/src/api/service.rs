//! The resource itself.

use super::{
    Adapters, Autoscaling, Engine, KvCache, Model, ModelServiceStatus, Objectives, Placement, Roles, Rollout,
    Router, Transfer,
};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// The vendor of a role's hardware, with which the names of accelerators begin. CEL has no functions of one's own, and the two roles are of
/// different types to it.
macro_rules! vendor_of {
    ($role:literal) => {
        concat!(
            "(has(self.roles.",
            $role,
            ".hardware.gpu) ? self.roles.",
            $role,
            ".hardware.gpu.type.split('-')[0] : ",
            "has(self.roles.",
            $role,
            ".hardware.resources) ? self.roles.",
            $role,
            ".hardware.resources.vendor : ",
            "has(self.roles.",
            $role,
            ".hardware.claims) ? self.roles.",
            $role,
            ".hardware.claims.vendor : '')"
        )
    };
}

/// Prefill and decode run on hardware of one vendor, or may try without.
const ONE_VENDOR: &str = concat!(
    "!has(self.roles.prefill) || !has(self.roles.decode) || (has(self.transfer) && self.transfer.acrossVendors) || ",
    vendor_of!("prefill"),
    " == ",
    vendor_of!("decode")
);

/// Whether a role has a maximum above its minimum.
macro_rules! ranges {
    ($role:literal) => {
        concat!(
            "has(self.roles.",
            $role,
            ") && has(self.roles.",
            $role,
            ".replicas.max) && self.roles.",
            $role,
            ".replicas.max > self.roles.",
            $role,
            ".replicas.min"
        )
    };
}

/// Where a role may have more replicas than its minimum, something scales.
const SOMEBODY_SCALES: &str = concat!(
    "self.autoscaling.enabled || self.autoscaling.external || [",
    ranges!("serve"),
    ", ",
    ranges!("prefill"),
    ", ",
    ranges!("decode"),
    "].all(scales, !scales)"
);

/// A model that is served: from it follow workloads for each role, their volumes and engine flags, and an InferencePool.
#[derive(Clone, Debug, CustomResource, KubeSchema, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "warmpath.dev",
    version = "v1alpha1",
    kind = "ModelService",
    plural = "modelservices",
    singular = "modelservice",
    shortname = "ms",
    category = "warmpath",
    namespaced,
    status = "ModelServiceStatus",
    derive = "PartialEq",
    doc = "A model that is served: from it follow workloads for each role, their volumes and engine flags, and an InferencePool.",
    printcolumn(name = "Model", type_ = "string", json_path = ".spec.model.name"),
    printcolumn(name = "Engine", type_ = "string", json_path = ".spec.engine.kind", priority = 1),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.ready", description = "Replicas that are ready, of those that are wanted, for each role."),
    printcolumn(name = "Cached", type_ = "string", json_path = ".status.cached", description = "The share of prompt tokens that came from caches."),
    printcolumn(name = "TTFT-p90", type_ = "string", json_path = ".status.ttftP90", description = "The 90th percentile of the time to the first token."),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 40").message("metadata.name: use at most 40 characters, because names of pods and Services are made from it"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name: begin with a letter, and use only lower-case letters, digits and dashes, because Services get this name")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.transfer) || has(self.roles.prefill)").message("transfer: only roles prefill and decode pass KV on; remove it, or use these roles").field_path(".transfer"),
    validation = Rule::new("!has(self.transfer) || !has(self.transfer.protocol) || self.transfer.protocol == 'nixl' || self.engine.kind != 'trtllm'").message("transfer.protocol: TensorRT-LLM passes KV on over nixl (its own transceiver); remove it").field_path(".transfer"),
    validation = Rule::new(ONE_VENDOR).message("roles: prefill and decode run on hardware of different vendors, whose attention kernels store KV differently; give both hardware of one vendor, or set transfer.acrossVendors to try it through the host's memory").field_path(".roles"),
    validation = Rule::new("!has(self.roles.prefill) || !has(self.router.hold) || !has(self.router.hold.roomSeconds)").message("router.hold.roomSeconds: requests wait for room only in pools without prefill and decode; remove it").field_path(".router.hold"),
    validation = Rule::new("self.rollout.maxSurge > 0 || self.rollout.maxUnavailable > 0").message("rollout: with maxSurge 0 and maxUnavailable 0 no pod could be replaced; set one of them to 1").field_path(".rollout"),
    validation = Rule::new(SOMEBODY_SCALES).message("roles: nothing scales, so that replicas.max has no effect; set autoscaling.enabled or external, or remove max").field_path(".roles"),
    validation = Rule::new("!self.autoscaling.scaleToZero || self.autoscaling.enabled || self.autoscaling.external").message("autoscaling.scaleToZero: set autoscaling.enabled or autoscaling.external as well, without which nothing scales").field_path(".autoscaling"),
    validation = Rule::new("!(self.autoscaling.enabled && self.autoscaling.external)").message("autoscaling: enabled lets Warmpath scale, external leaves it to another scaler; set one").field_path(".autoscaling")
)]
pub struct ModelServiceSpec {
    /// The model, and where its weights come from.
    pub model: Model,
    /// The inference engine.
    #[serde(default)]
    pub engine: Engine,
    /// What the replicas do: `serve` for engines that do everything, or `prefill` and `decode` for engines that share requests.
    pub roles: Roles,
    /// The tiers of the KV cache of each engine. A role may have its own.
    #[serde(default)]
    pub kv_cache: KvCache,
    /// How prefill engines pass KV on to decode engines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<Transfer>,
    /// LoRA adapters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapters: Option<Adapters>,
    /// What the router should know and do.
    #[serde(default)]
    pub router: Router,
    /// Where pods run.
    #[serde(default)]
    pub placement: Placement,
    /// How pods start, are replaced, and leave.
    #[serde(default)]
    pub rollout: Rollout,
    /// Who sets the number of replicas.
    #[serde(default)]
    pub autoscaling: Autoscaling,
    /// What the service should achieve, for the scaler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objectives: Option<Objectives>,
}
