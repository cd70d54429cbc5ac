//! Prefill and decode apart: whether roles, protocol and engines fit each other.
//!
//! Only what the controller can know for certain: engines do not show most of what they were started with.

use super::engines::judge;
use crate::api::{EndpointState, PoolState, StatePage, TransferState};
use crate::check::finding::{Check, Findings, Level};

static TRANSFER: Check = Check {
    id: "split.transfer",
    worst: Level::Error,
    why: "the pool does not say how its engines pass KV on: every request stays whole, prefill engines idle, and SGLang's \
          decode engines cannot serve",
    remedy: "set the pool's transfer.protocol, or the annotation warmpath.dev/transfer of the InferencePool; or remove the \
             roles",
};

static LEGS: Check = Check {
    id: "split.legs",
    worst: Level::Error,
    why: "no request can be split, because one of the legs has no engine of its own; SGLang's prefill and decode engines \
          then serve none",
    remedy: "start engines of the missing role; in a cluster, label their pods with llm-d.ai/role",
};

static PROTOCOL: Check = Check {
    id: "split.protocol",
    worst: Level::Error,
    why: "engines of this kind do not speak the pool's protocol, so no KV is passed on, and prompts are computed twice",
    remedy: "set the pool's transfer.protocol to that of its engines: nixl or mooncake for vLLM, sglang, tensorrt-llm",
};

static CONNECTOR: Check = Check {
    id: "split.connector",
    worst: Level::Warning,
    why: "the engine's metrics show no NIXL connector: what it computes cannot be read by others, and it cannot read what \
          others compute",
    remedy: "start vLLM with a NixlConnector in --kv-transfer-config, as docs/prefill-decode.md shows. The first versions of \
             vLLM with NIXL do not show it",
};

static ROLE: Check = Check {
    id: "split.role",
    worst: Level::Error,
    why: "the engine was started for other legs than those that it gets, and fails or never ends them",
    remedy: "give the endpoint the role of the engine's --disaggregation-mode: the list prefill or decode, or the label \
             llm-d.ai/role",
};

static BOOTSTRAP: Check = Check {
    id: "split.bootstrap",
    worst: Level::Error,
    why: "both legs of a request meet at the bootstrap server of the prefill engine, and the controller cannot connect to it",
    remedy: "set the pool's transfer.bootstrap_port to the port of the engines (SGLang's --disaggregation-bootstrap-port, \
             Mooncake's VLLM_MOONCAKE_BOOTSTRAP_PORT), and let controller and engines reach it",
};

/// In the order of docs/check.md.
pub(super) static CHECKS: [&Check; 6] = [&TRANSFER, &LEGS, &PROTOCOL, &CONNECTOR, &ROLE, &BOOTSTRAP];

pub(super) fn check(state: &StatePage, to: &mut Findings) {
    for pool in &state.pools {
        check_pool(pool, to);
    }
}

fn check_pool(pool: &PoolState, to: &mut Findings) {
    let subject = format!("pool {}", pool.name);
    check_roles(pool, &subject, to);
    let those = |has: fn(&EndpointState) -> bool| -> Vec<&EndpointState> {
        pool.endpoints.iter().filter(|endpoint| has(endpoint)).collect()
    };
    if let Some(TransferState { protocol, .. }) = &pool.transfer {
        let is_foreign = |endpoint: &EndpointState| {
            endpoint.engine.as_deref().is_some_and(|engine| !speaks(engine, protocol))
        };
        judge(&PROTOCOL, &subject, &those(|endpoint| endpoint.engine.is_some()), is_foreign, to);
        if protocol == "nixl" {
            let vllm = those(|endpoint| endpoint.nixl.is_some());
            judge(&CONNECTOR, &subject, &vllm, |endpoint| endpoint.nixl == Some(false), to);
        }
    }
    let known = those(|endpoint| endpoint.engine_role.is_some());
    judge(&ROLE, &subject, &known, |endpoint| endpoint.engine_role.as_ref() != Some(&endpoint.role), to);
    let tried = those(|endpoint| endpoint.bootstrap.is_some());
    judge(&BOOTSTRAP, &subject, &tried, |endpoint| endpoint.bootstrap == Some(false), to);
}

fn check_roles(pool: &PoolState, subject: &str, to: &mut Findings) {
    let count = |role: &str| pool.endpoints.iter().filter(|endpoint| endpoint.role == role).count();
    let (prefill, decode, both) = (count("prefill"), count("decode"), count("both"));
    let has_both_legs = prefill + both > 0 && decode + both > 0 && prefill + decode + both > 1;
    // SGLang's engines take whole requests only if they are started without a mode.
    let needs_legs = match &pool.transfer {
        Some(transfer) => transfer.protocol == "sglang",
        None => pool.endpoints.iter().any(|endpoint| endpoint.engine.as_deref() == Some("sglang")),
    };
    let failure = if needs_legs && both == 0 { Level::Error } else { Level::Warning };
    let (check, is_ok) = match &pool.transfer {
        Some(_) if pool.endpoints.is_empty() => return,
        Some(_) => (&LEGS, has_both_legs),
        None if prefill + decode == 0 => return,
        None => (&TRANSFER, false),
    };
    let level = if is_ok { Level::Ok } else { failure };
    to.add(check, level, subject, format!("prefill {prefill}, decode {decode}, both {both}"));
}

/// Whether an engine of this kind can speak a protocol. What a Triton speaks depends on the server in front of it.
fn speaks(engine: &str, protocol: &str) -> bool {
    match engine {
        "vllm" => matches!(protocol, "nixl" | "mooncake"),
        "sglang" => protocol == "sglang",
        "trtllm" => protocol == "tensorrt-llm",
        _ => true,
    }
}
