//! vLLM's tiers and connectors: `--kv-transfer-config`.
//!
//! Each of transfer, tiers and shared store is a connector; several are children of a `MultiConnector`. Tiers report what they hold
//! with the tokens (`self_describing_kv_events`), so that exact cache knowledge includes them.

use super::{Context, FILES_PATH, SHARED_PATH, env};
use crate::api::{MooncakeStore, NixlBackend, RoleName, Transfer, TransferProtocol, Vendor};
use crate::json::put;
use crate::shape::Shape;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const MOONCAKE_FILE: &str = "mooncake.json";

/// The value of `--kv-transfer-config`; `None`: there is no connector.
pub(super) fn transfer_config(context: Context<'_>) -> Option<String> {
    let Context { spec, shape, cache } = context;
    let mut connectors = Vec::new();
    if spec.roles.prefill.is_some() {
        connectors.push(transfer(&spec.transfer.clone().unwrap_or_default(), shape));
    }
    if let Some(tiers) = tiers(context) {
        connectors.push(tiers);
    }
    if cache.shared.as_ref().is_some_and(|shared| shared.mooncake.is_some()) {
        connectors.push(json!({"kv_connector": "MooncakeStoreConnector", "kv_role": "kv_both"}));
    }
    let mut config = match connectors.as_slice() {
        [] => return None,
        [only] => only.clone(),
        _ => json!({
            "kv_connector": "MultiConnector", "kv_role": "kv_both",
            "kv_connector_extra_config": {"connectors": connectors},
        }),
    };
    if let Some(config) = config.as_object_mut() {
        // A decode engine whose prefill engine has died computes the prompt itself, in place of an error.
        config.insert("kv_load_failure_policy".to_owned(), "recompute".into());
    }
    Some(config.to_string())
}

fn transfer(transfer: &Transfer, shape: &Shape<'_>) -> Value {
    match transfer.protocol {
        TransferProtocol::Nixl => {
            let mut extra = serde_json::Map::new();
            if transfer.backend == Some(NixlBackend::Uccl) {
                extra.insert("backends".to_owned(), json!(["UCCL"]));
            }
            let mut config = json!({"kv_connector": "NixlConnector", "kv_role": "kv_both"});
            if matches!(shape.device.vendor, Vendor::Cpu | Vendor::Google) {
                put(&mut config, "kv_buffer_device", "cpu");
            }
            if shape.crosses_vendors {
                // The attention kernels differ, by which vLLM would take the engines for incompatible.
                extra.insert("enforce_handshake_compat".to_owned(), false.into());
                put(&mut config, "kv_buffer_device", "cpu");
                put(&mut config, "enable_permute_local_kv", true);
            }
            if !extra.is_empty() {
                put(&mut config, "kv_connector_extra_config", extra);
            }
            config
        }
        TransferProtocol::Mooncake => {
            let role = if shape.name == RoleName::Prefill { "kv_producer" } else { "kv_consumer" };
            json!({"kv_connector": "MooncakeConnector", "kv_role": role})
        }
    }
}

/// The tiers below the devices' memory.
fn tiers(context: Context<'_>) -> Option<Value> {
    let cache = context.cache;
    // Each data-parallel rank is an engine with a tier of its own.
    let ranks = u64::from(context.shape.ranks_per_pod.max(1));
    let cpu_bytes = cache.cpu.as_ref()?.size.units()?.checked_div(ranks)?;
    let mut extra = json!({"cpu_bytes_to_use": cpu_bytes, "self_describing_kv_events": true});
    let file_tier = |root: &str, locality: &str| json!({"type": "fs", "root_dir": root, "enable_kv_events": true, "locality": locality});
    let mut below = Vec::new();
    if let Some(nvme) = &cache.nvme {
        below.push(file_tier(&nvme.path, "LOCAL"));
    }
    if cache.shared.as_ref().is_some_and(|shared| shared.claim.is_some()) {
        below.push(file_tier(SHARED_PATH, "REMOTE"));
    }
    if !below.is_empty() {
        put(&mut extra, "spec_name", "TieringOffloadingSpec");
        put(&mut extra, "secondary_tiers", below);
    }
    Some(
        json!({"kv_connector": "OffloadingConnector", "kv_role": "kv_both", "kv_connector_extra_config": extra}),
    )
}

/// The file that describes a Mooncake store, and the variable that says where it is.
pub(super) fn files(context: Context<'_>) -> (BTreeMap<String, String>, Vec<Value>) {
    let store = context.cache.shared.as_ref().and_then(|shared| shared.mooncake.as_ref());
    let Some(store) = store else { return (BTreeMap::new(), Vec::new()) };
    let has_rdma = context.spec.transfer.as_ref().is_some_and(|transfer| transfer.rdma.is_some());
    let text = mooncake(store, has_rdma, context.shape.devices_per_pod).to_string();
    let path = format!("{FILES_PATH}/{MOONCAKE_FILE}");
    (BTreeMap::from([(MOONCAKE_FILE.to_owned(), text)]), vec![env("MOONCAKE_CONFIG_PATH", path)])
}

/// Each device's process adds a segment: SGLang divides what it is given among them, vLLM does not.
fn mooncake(store: &MooncakeStore, has_rdma: bool, devices: u32) -> Value {
    let mut config = json!({
        "metadata_server": store.metadata_server.as_deref().unwrap_or("P2PHANDSHAKE"),
        "master_server_address": store.master,
        "protocol": if has_rdma { "rdma" } else { "tcp" },
    });
    let segment = store.segment.as_ref().and_then(crate::api::Amount::units);
    match segment.and_then(|bytes| bytes.checked_div(u64::from(devices.max(1)))) {
        Some(bytes) if bytes > 0 => put(&mut config, "global_segment_size", bytes),
        // The engine adds nothing: the store has memory of its own.
        _ => {
            put(&mut config, "mode", "standalone-store");
            put(&mut config, "global_segment_size", 0);
        }
    }
    config
}
