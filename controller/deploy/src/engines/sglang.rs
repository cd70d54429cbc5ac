//! SGLang. Flags as in `python3 -m sglang.launch_server --help` of 0.5.23.

use super::{
    BOOTSTRAP_PORT, Context, Flags, HTTP_PORT, Launch, SHARED_PATH, env, env_of_field, events, hub_env,
    model_argument, modules, ports, served_names, serving, share, user_args,
};
use crate::api::{NixlBackend, RoleName, TransferProtocol};

/// Where the nodes of a replica find each other.
const INIT_PORT: u16 = 20_080;
const GIGABYTE: u64 = 1_000_000_000;

pub(super) fn launch(context: Context<'_>) -> Launch {
    let Context { spec, shape, .. } = context;
    let mut args = vec![format!("--model-path={}", model_argument(spec))];
    args.extend(flags(context).into_args(user_args(&spec.engine, shape)));
    Launch {
        command: ["python3", "-m", "sglang.launch_server"].map(str::to_owned).to_vec(),
        args,
        env: environment(context),
        ports: ports(shape, 1),
        health: ("/health".to_owned(), HTTP_PORT),
        ..Launch::default()
    }
}

fn flags(context: Context<'_>) -> Flags {
    let Context { spec, shape, cache } = context;
    let mut flags = Flags::default();
    // SGLang has one name; requests may use any.
    flags.set_some("--served-model-name", served_names(spec).first());
    serving(spec, "--context-length", &mut flags);
    let parallel = &shape.role.parallelism;
    // The ranks of its attention are groups within the tensor-parallel ones.
    flags.set("--tp-size", parallel.tensor.saturating_mul(parallel.data));
    flags.set_some("--pp-size", Some(parallel.pipeline).filter(|size| *size > 1));
    flags.set_some("--attn-dp-size", Some(parallel.data).filter(|size| *size > 1));
    if parallel.expert {
        flags.set("--ep-size", parallel.tensor.saturating_mul(parallel.data));
    }
    if shape.nodes > 1 {
        flags.set("--nnodes", shape.nodes);
        flags.set("--node-rank", "$(LWS_WORKER_INDEX)");
        flags.set("--dist-init-addr", format!("$(LWS_LEADER_ADDRESS):{INIT_PORT}"));
    }
    if let Some(gpu) = &cache.gpu {
        flags.set_some("--mem-fraction-static", gpu.memory_percent.map(share));
        flags.set_some("--page-size", gpu.block_tokens);
        flags.set_some("--kv-cache-dtype", gpu.data_type.as_ref());
    }
    tiers(context, &mut flags);
    disaggregation(context, &mut flags);
    adapters(context, &mut flags);
    flags.switch("--enable-metrics");
    flags.switch("--enable-cache-report");
    flags.set("--kv-events-config", events(shape));
    flags
}

/// HiCache. Its size is that of each device's share, in gigabytes.
fn tiers(context: Context<'_>, flags: &mut Flags) {
    let Context { shape, cache, .. } = context;
    let Some(cpu) = &cache.cpu else { return };
    flags.switch("--enable-hierarchical-cache");
    let of_device = cpu.size.units().unwrap_or_default().checked_div(u64::from(shape.devices_per_pod.max(1)));
    flags.set(
        "--hicache-size",
        of_device.unwrap_or_default().checked_div(GIGABYTE).unwrap_or_default().max(1),
    );
    let shared = cache.shared.as_ref();
    if shared.is_some_and(|shared| shared.mooncake.is_some()) {
        flags.set("--hicache-storage-backend", "mooncake");
    } else if cache.nvme.is_some() || shared.is_some() {
        flags.set("--hicache-storage-backend", "file");
    }
}

fn disaggregation(context: Context<'_>, flags: &mut Flags) {
    let Context { spec, shape, .. } = context;
    if shape.name == RoleName::Serve {
        return;
    }
    let transfer = spec.transfer.clone().unwrap_or_default();
    flags.set("--disaggregation-mode", shape.name);
    let backend = match transfer.protocol {
        TransferProtocol::Nixl => "nixl",
        TransferProtocol::Mooncake => "mooncake",
    };
    flags.set("--disaggregation-transfer-backend", backend);
    if shape.name == RoleName::Prefill {
        flags.set("--disaggregation-bootstrap-port", transfer.bootstrap_port.unwrap_or(BOOTSTRAP_PORT));
    }
}

fn adapters(context: Context<'_>, flags: &mut Flags) {
    let Some(adapters) = &context.spec.adapters else { return };
    flags.switch("--enable-lora");
    flags.set_some("--max-loras-per-batch", adapters.active_max);
    flags.set_some("--max-lora-rank", adapters.rank_max);
    flags.list("--lora-paths", &modules(adapters.list.iter()));
}

fn environment(context: Context<'_>) -> Vec<serde_json::Value> {
    let Context { spec, cache, .. } = context;
    let mut found = hub_env(spec);
    found.push(env_of_field("POD_IP", "status.podIP"));
    let uses_uccl =
        spec.transfer.as_ref().is_some_and(|transfer| transfer.backend == Some(NixlBackend::Uccl));
    if spec.roles.prefill.is_some() && uses_uccl {
        found.push(env("SGLANG_DISAGGREGATION_NIXL_BACKEND", "UCCL"));
    }
    let shared = cache.shared.as_ref();
    if let Some(store) = shared.and_then(|shared| shared.mooncake.as_ref()) {
        let has_rdma = spec.transfer.as_ref().is_some_and(|transfer| transfer.rdma.is_some());
        found.push(env("MOONCAKE_MASTER", store.master.as_str()));
        let metadata = store.metadata_server.as_deref().unwrap_or("P2PHANDSHAKE");
        found.push(env("MOONCAKE_TE_META_DATA_SERVER", metadata));
        found.push(env("MOONCAKE_PROTOCOL", if has_rdma { "rdma" } else { "tcp" }));
        let segment = store.segment.as_ref().and_then(crate::api::Amount::units).unwrap_or_default();
        found.push(env("MOONCAKE_GLOBAL_SEGMENT_SIZE", segment.to_string()));
    } else if let Some(nvme) = &cache.nvme {
        found.push(env("SGLANG_HICACHE_FILE_BACKEND_STORAGE_DIR", nvme.path.as_str()));
    } else if shared.is_some_and(|shared| shared.claim.is_some()) {
        found.push(env("SGLANG_HICACHE_FILE_BACKEND_STORAGE_DIR", SHARED_PATH));
    }
    found
}
