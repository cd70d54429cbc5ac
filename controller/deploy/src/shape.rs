//! What a role comes to: pods of a replica, devices and ranks of a pod.

use crate::api::{EngineKind, KvCache, ModelServiceSpec, Role, RoleName, Vendor};
use crate::hardware::{self, Device};
use crate::problems::Problems;

/// Ports that an InferencePool may have, each its own endpoint.
const RANKS_PER_POD_MAX: u32 = 8;

/// What a role comes to.
#[derive(Debug)]
pub(crate) struct Shape<'a> {
    /// The role.
    pub(crate) name: RoleName,
    /// What the ModelService says of it.
    pub(crate) role: &'a Role,
    /// The tiers of its KV cache.
    pub(crate) cache: &'a KvCache,
    /// What it runs on.
    pub(crate) device: Device<'a>,
    /// Pods of a replica, each on a node of its own.
    pub(crate) nodes: u32,
    /// Devices of each pod.
    pub(crate) devices_per_pod: u32,
    /// Data-parallel ranks of each pod that have ports of their own.
    pub(crate) ranks_per_pod: u32,
    /// Whether the other role runs on another vendor's devices.
    pub(crate) crosses_vendors: bool,
    /// The engine's image.
    pub(crate) image: String,
}

/// The fields of a role, for messages.
pub(crate) fn path(name: RoleName) -> String {
    format!("spec.roles.{name}")
}

/// What each role comes to. Roles with problems are left out.
pub(crate) fn shapes<'a>(spec: &'a ModelServiceSpec, problems: &mut Problems) -> Vec<Shape<'a>> {
    let vendors: Vec<Vendor> =
        spec.roles.iter().filter_map(|(_, role)| Some(Device::of(&role.hardware)?.vendor)).collect();
    let crosses_vendors = vendors.windows(2).any(|pair| pair.first() != pair.last());
    let all = spec.roles.iter();
    all.filter_map(|(name, role)| shape(spec, name, role, crosses_vendors, problems)).collect()
}

fn shape<'a>(
    spec: &'a ModelServiceSpec,
    name: RoleName,
    role: &'a Role,
    crosses_vendors: bool,
    problems: &mut Problems,
) -> Option<Shape<'a>> {
    let path = path(name);
    let Some(device) = Device::of(&role.hardware) else {
        problems.add(format!("{path}.hardware"), "name exactly one of gpu, resources and claims");
        return None;
    };
    let image = image(spec, role, &device, &path, problems);
    let (nodes, devices_per_pod, ranks_per_pod) = divide(spec.engine.kind, role, &device, &path, problems)?;
    Some(Shape {
        name,
        role,
        cache: role.kv_cache.as_ref().unwrap_or(&spec.kv_cache),
        device,
        nodes,
        devices_per_pod,
        ranks_per_pod,
        crosses_vendors,
        image: image?,
    })
}

fn image(
    spec: &ModelServiceSpec,
    role: &Role,
    device: &Device<'_>,
    path: &str,
    problems: &mut Problems,
) -> Option<String> {
    let own = role.image.clone().or_else(|| spec.engine.image.clone());
    let found = own.or_else(|| hardware::image(spec.engine.kind, device));
    if found.is_none() {
        let (engine, vendor) = (spec.engine.kind.title(), device.vendor.as_str());
        let message =
            format!("name an image: there is no public one of {engine} for hardware of vendor {vendor}");
        problems.add(format!("{path}.image"), message);
    }
    found
}

/// Pods of a replica, devices and ranks of a pod.
fn divide(
    engine: EngineKind,
    role: &Role,
    device: &Device<'_>,
    path: &str,
    problems: &mut Problems,
) -> Option<(u32, u32, u32)> {
    let parallel = &role.parallelism;
    let (devices, per_node) = (parallel.devices(), device.per_node.max(1));
    let has_ranks = engine == EngineKind::Vllm && parallel.data > 1;
    let field = format!("{path}.parallelism");
    // Several processes of a CPU engine share the node; there is no count of devices to exceed.
    if devices <= per_node || device.vendor == Vendor::Cpu {
        let ranks = if has_ranks { parallel.data } else { 1 };
        if ranks > RANKS_PER_POD_MAX {
            let message = format!(
                "a pod has {ranks} ranks, and an InferencePool at most {RANKS_PER_POD_MAX} ports: raise tensor, or lower data and raise replicas"
            );
            problems.add(field, message);
            return None;
        }
        return Some((1, devices, ranks));
    }
    if engine == EngineKind::Trtllm {
        let message = format!(
            "a replica takes {devices} devices and a node has {per_node}: TensorRT-LLM spans nodes with MPI only, which Warmpath does not start; lower tensor, pipeline or data, or use vllm or sglang"
        );
        problems.add(field, message);
        return None;
    }
    let group = parallel.tensor.saturating_mul(parallel.pipeline);
    if has_ranks {
        if group > per_node || !per_node.is_multiple_of(group) {
            let message = format!(
                "a rank takes {group} devices (tensor x pipeline) and a node has {per_node}: with data above 1, the ranks must fill the nodes evenly; choose a tensor that divides {per_node}"
            );
            problems.add(field, message);
            return None;
        }
        let ranks = per_node.checked_div(group).unwrap_or(1);
        if !parallel.data.is_multiple_of(ranks) {
            let message = format!(
                "a node has room for {ranks} ranks, and data is {}: choose a multiple of {ranks}",
                parallel.data
            );
            problems.add(format!("{field}.data"), message);
            return None;
        }
        if ranks > RANKS_PER_POD_MAX {
            let message = format!(
                "a pod has {ranks} ranks, and an InferencePool at most {RANKS_PER_POD_MAX} ports: raise tensor"
            );
            problems.add(field, message);
            return None;
        }
        return Some((parallel.data.checked_div(ranks).unwrap_or(1), per_node, ranks));
    }
    if !devices.is_multiple_of(per_node) {
        let message = format!(
            "a replica takes {devices} devices (tensor x pipeline x data) and a node has {per_node}: choose a multiple of {per_node}, or state hardware.gpu.perNode"
        );
        problems.add(field, message);
        return None;
    }
    Some((devices.checked_div(per_node).unwrap_or(1), per_node, 1))
}
