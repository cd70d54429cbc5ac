//! What the schema cannot refuse: relations between fields, and what engines and connectors cannot do.

use super::cluster::{Cluster, InferencePools};
use super::scaling::policy;
use super::sleep;
use crate::api::{AdapterLoad, EngineKind, ModelServiceSpec, NixlBackend, TransferProtocol, Vendor, Volume};
use crate::engines::{flag_name, hub_token};
use crate::hardware::Request;
use crate::problems::Problems;
use crate::shape::{Shape, path};

/// Flags that other fields set, because more than the engine depends on them.
const RESERVED: [(&str, &str); 16] = [
    ("--port", "remove it, because InferencePool and probes use the port that Warmpath sets"),
    ("--host", "remove it, because others must reach the engine"),
    (
        "--api-key",
        "remove it and let the gateway authenticate: the controller reads metrics and models without a key",
    ),
    ("--served-model-name", "use spec.model.servedNames, which the router knows as well"),
    ("--tensor-parallel-size", "use parallelism.tensor, from which the devices follow"),
    ("--tp-size", "use parallelism.tensor, from which the devices follow"),
    ("--tp", "use parallelism.tensor, from which the devices follow"),
    ("--pipeline-parallel-size", "use parallelism.pipeline, from which the devices follow"),
    ("--pp-size", "use parallelism.pipeline, from which the devices follow"),
    ("--data-parallel-size", "use parallelism.data, from which devices and ports follow"),
    ("--dp-size", "use parallelism.data, from which the devices follow"),
    ("--data-parallel-rank", "remove it, because Warmpath numbers the ranks"),
    ("--nnodes", "remove it, because it follows from parallelism and hardware"),
    ("--node-rank", "remove it, because Warmpath numbers the nodes"),
    ("--headless", "remove it, because it follows from parallelism and hardware"),
    ("--disaggregation-mode", "use spec.roles"),
];
/// Why adapters cannot come from a volume of the model's kind.
const ON_DEMAND: &str = "only vLLM loads adapters with the first request, and only from a claim or an image: use load: pinned, or such a source";

/// Adds what is wrong with the whole.
pub(super) fn validate(
    spec: &ModelServiceSpec,
    shapes: &[Shape<'_>],
    cluster: &Cluster,
    problems: &mut Problems,
) {
    if cluster.inference_pools == InferencePools::Missing {
        problems.add("spec", "the API server has no InferencePools: install the CRDs of the Gateway API Inference Extension (v1)");
    }
    check_roles(spec, problems);
    if let Err(found) = policy(spec) {
        for problem in found {
            problems.add(problem.field, problem.message);
        }
    }
    for shape in shapes {
        check_shape(shape, cluster, problems);
        check_cache(spec, shape, problems);
    }
    check_arguments(spec, problems);
    check_transfer(spec, shapes, problems);
    check_adapters(spec, problems);
    check_router(spec, cluster, problems);
    sleep::check(spec, shapes, problems);
    if let Some(cache) = &spec.model.cache {
        check_volume(cache, "spec.model.cache", false, problems);
    }
    if spec.rollout.max_surge == 0 && spec.rollout.max_unavailable == 0 {
        problems.add(
            "spec.rollout",
            "with maxSurge 0 and maxUnavailable 0 no pod could be replaced: set one of them to 1",
        );
    }
}

fn check_roles(spec: &ModelServiceSpec, problems: &mut Problems) {
    let roles = &spec.roles;
    if roles.serve.is_some() == (roles.prefill.is_some() || roles.decode.is_some()) {
        problems.add("spec.roles", "name either serve, or prefill and decode");
    } else if roles.prefill.is_some() != roles.decode.is_some() {
        problems.add("spec.roles", "name prefill and decode together: neither can serve a request alone");
    }
    for (name, role) in roles.iter() {
        let field = format!("{}.replicas", path(name));
        let scales = spec.autoscaling.enabled || spec.autoscaling.external;
        if role.replicas.max.is_some_and(|max| max < role.replicas.min) && !scales {
            problems.add(format!("{field}.max"), "max must be at least min");
        }
        if role.replicas.max.is_some_and(|max| max > role.replicas.min) && !scales {
            problems.add(
                format!("{field}.max"),
                "nothing scales: set spec.autoscaling.enabled or external, or remove max",
            );
        }
    }
}

fn check_shape(shape: &Shape<'_>, cluster: &Cluster, problems: &mut Problems) {
    let path = path(shape.name);
    if shape.nodes > 1 && !cluster.has_leader_worker_sets {
        let message = format!(
            "a replica takes {} nodes, for which the API server needs LeaderWorkerSets: install the LeaderWorkerSet controller, or choose fewer devices",
            shape.nodes
        );
        problems.add(format!("{path}.parallelism"), message);
    }
    if let Some(Request::Claim(_)) = shape.device.request
        && !cluster.has_resource_claims
    {
        problems.add(format!("{path}.hardware.claims"), "the API server has no ResourceClaimTemplates (resource.k8s.io/v1, Kubernetes 1.34): use gpu or resources");
    }
    let topologies = shape.device.preset.map(|preset| preset.topologies).unwrap_or_default();
    if !topologies.is_empty() && !topologies.iter().any(|(count, _)| *count == shape.devices_per_pod) {
        let counts: Vec<String> = topologies.iter().map(|(count, _)| count.to_string()).collect();
        let message = format!(
            "a pod takes {} chips, and slices on one host have {}: choose tensor accordingly",
            shape.devices_per_pod,
            counts.join(", ")
        );
        problems.add(format!("{path}.parallelism"), message);
    }
    if shape.nodes > 1 && matches!(shape.device.vendor, Vendor::Google | Vendor::Cpu) {
        problems.add(
            format!("{path}.parallelism"),
            "replicas on several nodes are for accelerators of other vendors: choose fewer devices",
        );
    }
}

fn check_cache(spec: &ModelServiceSpec, shape: &Shape<'_>, problems: &mut Problems) {
    let field = if shape.role.kv_cache.is_some() {
        format!("{}.kvCache", path(shape.name))
    } else {
        "spec.kvCache".to_owned()
    };
    let cache = shape.cache;
    if let Some(cpu) = &cache.cpu {
        if cpu.size.units().is_none_or(|bytes| bytes < 1 << 30) {
            problems.add(format!("{field}.cpu.size"), "write a size of at least 1Gi, such as 200Gi");
        }
        if matches!(shape.device.vendor, Vendor::Cpu | Vendor::Google) {
            let message = format!(
                "engines on {} hardware have no tier in the host's memory: remove cpu, and what needs it",
                shape.device.vendor.as_str()
            );
            problems.add(format!("{field}.cpu"), message);
        }
        let memory =
            shape.role.hardware.requests.as_ref().and_then(|requests| requests.memory.as_ref()?.units());
        if memory.is_some_and(|memory| cpu.size.units().is_some_and(|tier| memory <= tier)) {
            let message = format!(
                "the tier in the host's memory alone has {}: ask for more, the engine needs some as well",
                cpu.size
            );
            problems.add(format!("{}.hardware.requests.memory", path(shape.name)), message);
        }
    }
    if let Some(nvme) = &cache.nvme {
        if cache.cpu.is_none() {
            problems
                .add(format!("{field}.nvme"), "add cpu, through which engines move what they store on disks");
        }
        check_volume(&nvme.volume, &format!("{field}.nvme.volume"), true, problems);
        if !nvme.path.starts_with('/') {
            problems.add(format!("{field}.nvme.path"), "write an absolute path, such as /kv");
        }
        if spec.engine.kind == EngineKind::Trtllm {
            problems.add(
                format!("{field}.nvme"),
                "TensorRT-LLM has no tier on disks: remove it, or use vllm or sglang",
            );
        }
    }
    if let Some(shared) = &cache.shared {
        if shared.claim.is_some() && cache.cpu.is_none() {
            problems.add(
                format!("{field}.shared.claim"),
                "add cpu, through which engines move what they store elsewhere",
            );
        }
        if spec.engine.kind == EngineKind::Trtllm {
            problems.add(
                format!("{field}.shared"),
                "TensorRT-LLM uses no shared store: remove it, or use vllm or sglang",
            );
        }
        if spec.engine.kind == EngineKind::Sglang && cache.nvme.is_some() {
            problems.add(
                format!("{field}.shared"),
                "SGLang has one store below the host's memory: remove nvme or shared",
            );
        }
    }
}

fn check_volume(volume: &Volume, field: &str, is_sized: bool, problems: &mut Problems) {
    let count = [volume.ephemeral.is_some(), volume.host_path.is_some(), volume.claim.is_some()];
    if count.iter().filter(|is_there| **is_there).count() != 1 {
        problems.add(field, "name exactly one of ephemeral, hostPath and claim");
    }
    match &volume.ephemeral {
        Some(ephemeral) if ephemeral.storage_class.is_some() && ephemeral.size.is_none() && !is_sized => {
            problems.add(format!("{field}.ephemeral.size"), "state a size, which a storage class needs");
        }
        // Engines fill a tier on a disk, and remove nothing. The kubelet evicts a pod whose emptyDir is full, within a second.
        Some(ephemeral) if ephemeral.storage_class.is_none() && is_sized => {
            let message = "name a storage class: engines fill the volume, and a pod whose emptyDir is full is evicted with its requests";
            problems.add(format!("{field}.ephemeral.storageClass"), message);
        }
        _ => {}
    }
}

fn check_arguments(spec: &ModelServiceSpec, problems: &mut Problems) {
    let engine =
        spec.engine.additions.args.iter().enumerate().map(|(at, it)| (format!("spec.engine.args[{at}]"), it));
    let roles = spec.roles.iter().flat_map(|(name, role)| {
        role.additions.args.iter().enumerate().map(move |(at, it)| (format!("{}.args[{at}]", path(name)), it))
    });
    for (field, argument) in engine.chain(roles) {
        let name = flag_name(argument);
        let reserved = RESERVED.iter().find(|(flag, _)| name.as_deref() == Some(*flag));
        if let Some((flag, remedy)) = reserved {
            problems.add(field, format!("{flag}: {remedy}"));
        }
    }
}

/// What can pass KV on to what. vLLM's NIXL connector compares the attention kernels of both sides, among others, and refuses others;
/// an option makes it try all the same, through the host's memory. SGLang's and TensorRT-LLM's cannot.
fn check_transfer(spec: &ModelServiceSpec, shapes: &[Shape<'_>], problems: &mut Problems) {
    let transfer = spec.transfer.clone().unwrap_or_default();
    if spec.transfer.is_some() && spec.roles.prefill.is_none() {
        problems
            .add("spec.transfer", "only roles prefill and decode pass KV on; remove it, or use these roles");
        return;
    }
    let is_mooncake = transfer.protocol == TransferProtocol::Mooncake;
    if is_mooncake && spec.engine.kind == EngineKind::Trtllm {
        problems.add("spec.transfer.protocol", "TensorRT-LLM passes KV on with nixl");
    }
    if transfer.backend == Some(NixlBackend::Uccl) && spec.engine.kind == EngineKind::Trtllm {
        problems.add("spec.transfer.backend", "TensorRT-LLM chooses its own; remove it");
    }
    let [prefill, decode] = shapes else { return };
    if prefill.crosses_vendors {
        let (from, to) = (prefill.device.vendor.as_str(), decode.device.vendor.as_str());
        let can_try = spec.engine.kind == EngineKind::Vllm && !is_mooncake;
        if !can_try {
            let message = format!(
                "no connector of {} passes KV from {from} to {to} hardware: give both roles hardware of one vendor",
                spec.engine.kind.title()
            );
            problems.add("spec.roles.decode.hardware", message);
        } else if !transfer.across_vendors {
            let message = format!(
                "prefill runs on {from} and decode on {to} hardware, whose attention kernels store KV differently: give both roles hardware of one vendor, or set spec.transfer.acrossVendors to try it through the host's memory"
            );
            problems.add("spec.roles.decode.hardware", message);
        }
    }
    // NIXL reads the shares of several prefill devices with one decode device, and not the other way round.
    let (wide, narrow) = (prefill.role.parallelism.tensor, decode.role.parallelism.tensor);
    if spec.engine.kind == EngineKind::Vllm && wide > narrow {
        let message = format!(
            "prefill divides layers among {wide} devices and decode among {narrow}: vLLM passes KV on only to as many or more; lower it to {narrow}, or raise decode's"
        );
        problems.add("spec.roles.prefill.parallelism.tensor", message);
    }
    let block = |shape: &Shape<'_>| shape.cache.gpu.clone().unwrap_or_default();
    if block(prefill).data_type != block(decode).data_type {
        problems.add(
            "spec.roles.decode.kvCache.gpu.dataType",
            "prefill and decode must store keys and values alike: state one type",
        );
    }
    if block(prefill).block_tokens != block(decode).block_tokens {
        problems.add(
            "spec.roles.decode.kvCache.gpu.blockTokens",
            "prefill and decode must have blocks of one size: state one",
        );
    }
}

fn check_adapters(spec: &ModelServiceSpec, problems: &mut Problems) {
    let Some(adapters) = &spec.adapters else { return };
    if spec.engine.kind == EngineKind::Trtllm {
        problems.add(
            "spec.adapters",
            "adapters of TensorRT-LLM are named in each request; remove it, or use vllm or sglang",
        );
        return;
    }
    for (at, adapter) in adapters.list.iter().enumerate() {
        let field = format!("spec.adapters.list[{at}]");
        let is_on_demand = adapter.load == AdapterLoad::OnDemand;
        if is_on_demand && (spec.engine.kind != EngineKind::Vllm || adapter.source.hub.is_some()) {
            problems.add(format!("{field}.load"), ON_DEMAND);
        }
        if spec.model.served_names.contains(&adapter.name) || spec.model.name == adapter.name {
            problems.add(format!("{field}.name"), "the model has this name: give the adapter another");
        }
        if adapters.list.iter().take(at).any(|other| other.name == adapter.name) {
            problems.add(format!("{field}.name"), "give each adapter a name of its own");
        }
        let Some(hub) = &adapter.source.hub else { continue };
        if hub.revision.is_some() {
            let message = "engines load an adapter's newest revision: remove it, or put the files on a claim or into an image";
            problems.add(format!("{field}.source.hub.revision"), message);
        }
        if hub.token.is_some() && hub.token.as_ref() != hub_token(spec) {
            let message = "an engine has one token for the hub: name the same one everywhere";
            problems.add(format!("{field}.source.hub.token"), message);
        }
    }
    let pinned = adapters.list.iter().filter(|adapter| adapter.load == AdapterLoad::Pinned).count();
    if let Some(active) = adapters.active_max
        && usize::try_from(active).is_ok_and(|active| active < pinned)
    {
        let message = format!("{pinned} adapters are pinned: allow as many, or load some on demand");
        problems.add("spec.adapters.activeMax", message);
    }
}

fn check_router(spec: &ModelServiceSpec, cluster: &Cluster, problems: &mut Problems) {
    let router = &spec.router;
    if let (Some(name), Some(known)) = (&router.tokenizer, &cluster.tokenizers)
        && !known.contains(name)
    {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let message = format!(
            "the controller does not have it (it has {known}): list it in the chart's controller.tokenizers"
        );
        problems.add("spec.router.tokenizer", message);
    }
    if router.hold.as_ref().is_some_and(|hold| hold.room_seconds.is_some()) && spec.roles.prefill.is_some() {
        problems.add(
            "spec.router.hold.roomSeconds",
            "requests wait for room only in pools without prefill and decode; remove it",
        );
    }
    let names = spec.model.served_names.iter().chain([&spec.model.name]);
    let adapters =
        spec.adapters.iter().flat_map(|adapters| adapters.list.iter().map(|adapter| &adapter.name));
    for name in names.chain(adapters) {
        if name.contains(',') || name.chars().any(char::is_control) {
            problems
                .add("spec.model", format!("{name}: names must have no commas and no control characters"));
        }
    }
}
