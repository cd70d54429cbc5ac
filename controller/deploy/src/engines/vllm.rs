//! vLLM. Flags as in `vllm serve --help` of 0.32.0.

use super::{
    ADAPTERS_PATH, Context, Flags, HTTP_PORT, Launch, SIDE_CHANNEL_PORT, env, env_of_field, events, hub_env,
    is_prefill, model_argument, modules, ports, served_names, serving, share, user_args, vllm_cache,
};
use crate::api::{AdapterLoad, TransferProtocol, Vendor};
use crate::json::put;

/// Where the supervisor of several ranks says how they all do (`--data-parallel-supervisor-port`).
const SUPERVISOR_PORT: u16 = 9_256;
/// Where ranks find each other: the engine's coordinator at the first pod.
const RPC_PORT: u16 = 13_345;
/// Where the nodes of a replica find each other (`--master-port`).
const MASTER_PORT: u16 = 29_501;

pub(super) fn launch(context: Context<'_>) -> Launch {
    let Context { spec, shape, .. } = context;
    let has_ranks = shape.role.parallelism.data > 1;
    let serve = flags(context);
    let mut worker = None;
    if shape.nodes > 1 && !has_ranks {
        let mut flags = flags(context);
        flags.switch("--headless");
        worker = Some(flags);
    }
    let args = |flags: Flags| {
        let mut args = vec![model_argument(spec)];
        args.extend(flags.into_args(user_args(&spec.engine, shape)));
        args
    };
    let (files, file_env) = vllm_cache::files(context);
    let mut env = environment(context);
    env.extend(file_env);
    Launch {
        command: vec!["vllm".to_owned(), "serve".to_owned()],
        args: args(serve),
        worker_args: worker.map(args),
        env,
        ports: ports(shape, shape.ranks_per_pod),
        files,
        health: ("/health".to_owned(), if shape.ranks_per_pod > 1 { SUPERVISOR_PORT } else { HTTP_PORT }),
        all_serve: has_ranks,
    }
}

fn flags(context: Context<'_>) -> Flags {
    let Context { spec, shape, cache } = context;
    let mut flags = Flags::default();
    flags.list("--served-model-name", &served_names(spec));
    serving(spec, "--max-model-len", &mut flags);
    parallelism(context, &mut flags);
    if let Some(gpu) = &cache.gpu {
        flags.set_some("--gpu-memory-utilization", gpu.memory_percent.map(share));
        flags.set_some("--block-size", gpu.block_tokens);
        flags.set_some("--kv-cache-dtype", gpu.data_type.as_ref());
    }
    flags.set_some("--kv-transfer-config", vllm_cache::transfer_config(context));
    // Proxies compare what responses say with what engines report.
    flags.switch("--enable-prompt-tokens-details");
    let mut events = events(shape);
    put(&mut events, "enable_kv_cache_events", true);
    flags.set("--kv-events-config", events);
    adapters(context, &mut flags);
    if spec.autoscaling.sleep_level.is_some() {
        flags.switch("--enable-sleep-mode");
    }
    // Requests that run when a pod leaves end as they would have.
    flags.set("--shutdown-timeout", spec.rollout.drain_seconds);
    flags
}

/// One rank that spans nodes is divided by `--nnodes`; ranks of their own are ports, `--data-parallel-multi-port-external-lb`
/// starting those of a pod. vLLM's own balancing between ranks behind one port would hide from the router which one holds a prefix.
fn parallelism(context: Context<'_>, flags: &mut Flags) {
    let shape = context.shape;
    let parallel = &shape.role.parallelism;
    flags.set_some("--tensor-parallel-size", Some(parallel.tensor).filter(|size| *size > 1));
    flags.set_some("--pipeline-parallel-size", Some(parallel.pipeline).filter(|size| *size > 1));
    if parallel.data > 1 {
        flags.set("--data-parallel-size", parallel.data);
        if shape.nodes > 1 {
            flags.set("--data-parallel-address", "$(LWS_LEADER_ADDRESS)");
            flags.set("--data-parallel-rpc-port", RPC_PORT);
        }
        if shape.ranks_per_pod > 1 {
            flags.switch("--data-parallel-multi-port-external-lb");
            flags.set("--data-parallel-size-local", shape.ranks_per_pod);
            flags.set("--data-parallel-supervisor-port", SUPERVISOR_PORT);
            flags.set_some("--node-rank", Some("$(LWS_WORKER_INDEX)").filter(|_| shape.nodes > 1));
        } else {
            flags.set("--data-parallel-rank", "$(LWS_WORKER_INDEX)");
        }
    } else if shape.nodes > 1 {
        flags.set("--nnodes", shape.nodes);
        flags.set("--node-rank", "$(LWS_WORKER_INDEX)");
        flags.set("--master-addr", "$(LWS_LEADER_ADDRESS)");
        flags.set("--master-port", MASTER_PORT);
    }
    if parallel.expert {
        flags.switch("--enable-expert-parallel");
        if shape.nodes > 1 && shape.device.vendor == Vendor::Nvidia {
            // Large batches of a prompt want throughput; steps of a token want latency, and CUDA graphs.
            let kernels =
                if is_prefill(shape.name) { "deepep_high_throughput" } else { "deepep_low_latency" };
            flags.set("--all2all-backend", kernels);
        }
    }
}

fn adapters(context: Context<'_>, flags: &mut Flags) {
    let Some(adapters) = &context.spec.adapters else { return };
    let pinned = || adapters.list.iter().filter(|adapter| adapter.load == AdapterLoad::Pinned);
    let pinned_count = u32::try_from(pinned().count()).unwrap_or(u32::MAX);
    flags.switch("--enable-lora");
    flags.set("--max-loras", adapters.active_max.unwrap_or(pinned_count.max(1)));
    flags.set(
        "--max-cpu-loras",
        adapters.list.len().max(usize::try_from(adapters.active_max.unwrap_or(1)).unwrap_or(1)),
    );
    flags.set_some("--max-lora-rank", adapters.rank_max);
    let modules = modules(pinned());
    if !modules.is_empty() {
        flags.list("--lora-modules", &modules);
    }
}

fn environment(context: Context<'_>) -> Vec<serde_json::Value> {
    let spec = context.spec;
    let mut found = hub_env(spec);
    found.push(env_of_field("VLLM_HOST_IP", "status.podIP"));
    let transfer = spec.transfer.clone().unwrap_or_default();
    let passes_on = spec.roles.prefill.is_some();
    match transfer.protocol {
        TransferProtocol::Nixl if passes_on => {
            found.push(env_of_field("VLLM_NIXL_SIDE_CHANNEL_HOST", "status.podIP"));
            let port = transfer.side_channel_port.unwrap_or(SIDE_CHANNEL_PORT);
            found.push(env("VLLM_NIXL_SIDE_CHANNEL_PORT", port.to_string()));
        }
        TransferProtocol::Mooncake if passes_on => {
            let port = transfer.bootstrap_port.unwrap_or(super::BOOTSTRAP_PORT);
            found.push(env("VLLM_MOONCAKE_BOOTSTRAP_PORT", port.to_string()));
        }
        _ => {}
    }
    if spec.autoscaling.sleep_level.is_some() {
        // The endpoints that put it to sleep and wake it are among those of development.
        found.push(env("VLLM_SERVER_DEV_MODE", "1"));
    }
    if spec.adapters.iter().flat_map(|adapters| &adapters.list).any(|it| it.load == AdapterLoad::OnDemand) {
        // vLLM then looks for a model that it does not know among these directories.
        found.push(env("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "True"));
        found.push(env("VLLM_PLUGINS", "lora_filesystem_resolver"));
        found.push(env("VLLM_LORA_RESOLVER_CACHE_DIR", ADAPTERS_PATH));
    }
    found
}
