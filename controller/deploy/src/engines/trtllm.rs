//! TensorRT-LLM. Flags as in `trtllm-serve serve --help` of 1.2; what has no flag is in a file of options.

use super::{
    Context, FILES_PATH, Flags, HTTP_PORT, Launch, TEMPLATE_PATH, env_of_field, http_ports, hub_env,
    model_argument, revision, share, user_args,
};
use crate::json::put;
use serde_json::json;
use std::collections::BTreeMap;

const OPTIONS_FILE: &str = "options.yaml";

pub(super) fn launch(context: Context<'_>) -> Launch {
    let Context { spec, shape, cache } = context;
    let parallel = &shape.role.parallelism;
    let devices = parallel.tensor.saturating_mul(parallel.data);
    let mut flags = Flags::default();
    flags.set("--host", "0.0.0.0");
    flags.set("--port", HTTP_PORT);
    flags.set("--tp_size", devices);
    flags.set_some("--pp_size", Some(parallel.pipeline).filter(|size| *size > 1));
    flags.set_some("--ep_size", Some(devices).filter(|_| parallel.expert));
    flags.set_some("--max_seq_len", spec.model.context_length);
    flags.set_some("--revision", revision(spec));
    if spec.model.chat_template.is_some() {
        flags.set("--chat_template", TEMPLATE_PATH);
    }
    let percent = cache.gpu.as_ref().and_then(|gpu| gpu.memory_percent);
    flags.set_some("--kv_cache_free_gpu_memory_fraction", percent.map(share));
    flags.set("--extra_llm_api_options", format!("{FILES_PATH}/{OPTIONS_FILE}"));
    let mut args = vec![model_argument(spec)];
    args.extend(flags.into_args(user_args(&spec.engine, shape)));
    let mut env = hub_env(spec);
    env.push(env_of_field("POD_IP", "status.podIP"));
    Launch {
        command: ["trtllm-serve", "serve"].map(str::to_owned).to_vec(),
        args,
        env,
        ports: http_ports(1),
        // YAML has JSON in it.
        files: BTreeMap::from([(OPTIONS_FILE.to_owned(), options(context).to_string())]),
        health: ("/health".to_owned(), HTTP_PORT),
        ..Launch::default()
    }
}

fn options(context: Context<'_>) -> serde_json::Value {
    let Context { spec, shape, cache } = context;
    // No `event_buffer_max_size`: the engine would keep events for a reader of `/kv_cache_events`, and there is none.
    let mut kv = json!({"enable_block_reuse": true});
    if let Some(bytes) = cache.cpu.as_ref().and_then(|cpu| cpu.size.units()) {
        // The size for each rank.
        put(&mut kv, "host_cache_size", bytes.checked_div(u64::from(shape.devices_per_pod.max(1))));
    }
    if let Some(gpu) = &cache.gpu {
        if let Some(tokens) = gpu.block_tokens {
            put(&mut kv, "tokens_per_block", tokens);
        }
        if let Some(kind) = &gpu.data_type {
            put(&mut kv, "dtype", kind.as_str());
        }
    }
    // The router reads the engine's load from its iteration statistics.
    let mut options =
        json!({"kv_cache_config": kv, "enable_iter_perf_stats": true, "return_perf_metrics": true});
    if shape.role.parallelism.data > 1 {
        put(&mut options, "enable_attention_dp", true);
    }
    if spec.roles.prefill.is_some() {
        put(&mut options, "cache_transceiver_config", json!({"backend": "NIXL"}));
        // A context server's requests do not overlap with a generation that it does not have.
        if shape.name == crate::api::RoleName::Prefill {
            put(&mut options, "disable_overlap_scheduler", true);
        }
    }
    options
}
