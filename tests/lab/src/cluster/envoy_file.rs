//! Envoy's configuration for an arm: the shipped file with the addresses of this run.

use super::Spec;
use super::controller::POOL;
use crate::arm::Arm;
use crate::paths;
use anyhow::Context;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use warmpath_envoy::resources::CONTROLLER;
use warmpath_envoy::shipped::ShippedConfig;

/// Writes the file.
pub(super) fn write(
    spec: &Spec,
    engines: &[SocketAddr],
    controller: Option<SocketAddr>,
    file: &Path,
) -> anyhow::Result<()> {
    let mut config = ShippedConfig::new()
        .listener_port(spec.ports.gateway)
        .admin_port(spec.ports.admin)
        .engines(engines)
        .plugin(with_hold(plugin(&named(spec, engines), spec.explain), spec)?);
    if let Some(controller) = controller {
        config = config.controller(controller);
    }
    config = match spec.arm.plain() {
        Some(lb) => config.without_filter(lb),
        None => config.wasm(if spec.is_faulty { paths::wasm_faulty()? } else { paths::wasm()? }),
    };
    config.write(file).context("cannot write envoy's configuration")
}

/// How long requests may wait, for the time before the controller's first snapshot.
fn with_hold(mut plugin: Value, spec: &Spec) -> anyhow::Result<Value> {
    if let Some(hold) = &spec.hold {
        let pool = plugin.pointer_mut("/pools/0").context("the filter's configuration has no pool")?;
        let seconds = |ms: u32| ms / 1_000;
        pool["hold"] =
            json!({ "room_s": seconds(hold.room_ms_max), "endpoint_s": seconds(hold.endpoint_ms_max) });
    }
    Ok(plugin)
}

/// The engines that the filter's configuration names: none where only the controller knows them, or their roles.
fn named(spec: &Spec, engines: &[SocketAddr]) -> Vec<SocketAddr> {
    let are_hidden = spec.controller_later || Arm::LEGS.contains(&spec.arm);
    if are_hidden { Vec::new() } else { engines.to_vec() }
}

/// The filter's configuration: the pool that serves until the controller's first snapshot, as shipped without endpoints if
/// there are none, and the controller.
pub fn plugin(engines: &[SocketAddr], explain: bool) -> Value {
    let endpoints: Vec<String> = engines.iter().map(ToString::to_string).collect();
    let pool = if endpoints.is_empty() {
        json!({ "name": POOL, "models": ["*"] })
    } else {
        json!({ "name": POOL, "models": ["*"], "endpoints": endpoints })
    };
    json!({
        "pools": [pool],
        "controller": { "cluster": CONTROLLER },
        "explain": explain,
    })
}
