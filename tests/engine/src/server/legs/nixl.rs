//! vLLM 0.32 with `NixlConnector`: `kv_transfer_params`, and what the engine makes of each value of them.
//!
//! Source: `distributed/kv_transfer/kv_connector/v1/nixl/pull_scheduler.py`, and two engines on CPUs. The decode engine reads the blocks
//! that it was handed over without asking whether they are still kept: a second fetch, or one after the lease, has the keys and
//! values of whatever is there now, and nobody is the wiser. Here that always shows in the output, and is counted.
//!
//! One thing differs on purpose, so that a wrong body is seen by the test that sends it: fields that no connector knows are
//! refused, which vLLM overlooks.

use super::{
    Leg,
    decode::Decode,
    fetch::{Claim, Fetch, Peer},
    kept::Slip,
    prefill::Prefill,
};
use crate::{api::ApiError, server::engine_server::App};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// All fields that vLLM's connectors read or write.
const KNOWN: [&str; 16] = [
    "do_remote_decode",
    "do_remote_prefill",
    "remote_engine_id",
    "remote_block_ids",
    "remote_request_id",
    "remote_host",
    "remote_port",
    "remote_num_tokens",
    "remote_prefill_cached_tokens",
    "tp_size",
    "dcp_size",
    "pp_size",
    "remote_blocks_expiry_time",
    "transfer_mode",
    "transfer_id",
    "remote_bootstrap_addr",
];

/// What says whose blocks they are, and where.
const ADDRESS: [&str; 4] = ["remote_engine_id", "remote_request_id", "remote_host", "remote_port"];

/// `kv_transfer_params` of both NIXL and Mooncake, as far as they decide something.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Params {
    #[serde(default)]
    pub(super) do_remote_decode: bool,
    #[serde(default)]
    pub(super) do_remote_prefill: bool,
    pub(super) remote_engine_id: Option<String>,
    remote_block_ids: Option<Vec<Vec<u32>>>,
    remote_request_id: Option<String>,
    remote_host: Option<String>,
    remote_port: Option<u16>,
    pub(super) transfer_id: Option<String>,
    pub(super) remote_bootstrap_addr: Option<String>,
}

// === impl Params ===

impl Params {
    pub(super) fn read(params: &Value) -> Result<Self, ApiError> {
        let unknown =
            params.as_object().and_then(|fields| fields.keys().find(|name| !KNOWN.contains(&name.as_str())));
        if let Some(name) = unknown {
            return Err(ApiError::Invalid(format!("kv_transfer_params: unknown field {name:?}")));
        }
        let params = Self::deserialize(params)
            .map_err(|error| ApiError::Invalid(format!("kv_transfer_params: {error}")))?;
        if params.do_remote_decode && params.do_remote_prefill {
            return Err(ApiError::Invalid("kv_transfer_params of both legs".to_owned()));
        }
        Ok(params)
    }
}

/// The leg that these parameters make of a request.
pub(super) fn leg(app: &Arc<App>, handover: Value) -> Result<Leg, ApiError> {
    let params = Params::read(&handover)?;
    if params.transfer_id.is_some() || params.remote_bootstrap_addr.is_some() {
        return Err(ApiError::Invalid("kv_transfer_params of Mooncake at an engine with NIXL".to_owned()));
    }
    let names_blocks = params.remote_block_ids.is_some_and(|groups| !groups.is_empty());
    match (params.do_remote_decode, params.do_remote_prefill) {
        (true, _) if names_blocks => {
            Err(ApiError::Invalid("a prefill leg that fetches blocks is not simulated".to_owned()))
        }
        (true, _) => Ok(Leg::Prefill(Prefill::Pull)),
        (false, false) => Ok(Leg::Whole),
        // vLLM: an assertion without blocks, and a KeyError without the rest; either ends the process.
        (false, true) if !names_blocks || ADDRESS.iter().any(|name| handover.get(name).is_none()) => {
            Ok(Leg::Killing)
        }
        (false, true) => {
            let Params { remote_engine_id, remote_request_id, remote_host, remote_port, .. } = params;
            let claim = Claim {
                name: remote_request_id.unwrap_or_default(),
                engine_id: Some(remote_engine_id.unwrap_or_default()),
                handover,
                wait_ms: 0,
                is_blind: true,
            };
            // An address that is null leads nowhere: such a prompt cannot be fetched.
            let host = remote_host.unwrap_or_default();
            let peer = Peer::Address { host, port: remote_port.unwrap_or_default() };
            Ok(Leg::Decode(Decode::One(Fetch::new(app, peer, claim))))
        }
    }
}

/// What the response of a prefill leg hands over.
pub(super) fn handover(app: &App, name: &str, blocks: &[u32], slip: Slip) -> Value {
    json!({
        "do_remote_prefill": true, "do_remote_decode": false, "remote_block_ids": [blocks],
        "remote_engine_id": app.engine_id(), "remote_request_id": name,
        "remote_host": app.side_addr.ip().to_string(), "remote_port": app.side_addr.port(),
        "tp_size": 1, "dcp_size": 1, "pp_size": 1, "remote_num_tokens": slip.prompt_tokens,
        "remote_blocks_expiry_time": null, "transfer_mode": "pull",
        "remote_prefill_cached_tokens": slip.cached_tokens,
    })
}

/// The same without blocks: what a decode engine must never be sent.
pub(super) fn empty(mut handover: Value) -> Value {
    handover["remote_block_ids"] = json!([]);
    handover
}
