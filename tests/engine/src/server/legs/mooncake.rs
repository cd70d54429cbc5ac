//! vLLM 0.32 with `MooncakeConnector`: both legs at once, and the prefill engine writes.
//!
//! Source: `distributed/kv_transfer/kv_connector/v1/mooncake/mooncake_connector.py`. The decode engine learns the prefill engine's
//! workers from its bootstrap server (`GET /query`), says where to write, and waits until the transfer's name is known there.
//! A role that does not fit is an assertion there, and ends the process.

use super::{
    Leg, Role, Transfer,
    decode::Decode,
    fetch::{Claim, Fetch, Peer},
    nixl::Params,
    prefill::Prefill,
};
use crate::{api::ApiError, server::engine_server::App};
use serde_json::{Value, json};
use std::sync::Arc;

/// The leg that `kv_transfer_params` make of a request.
pub(super) fn leg(app: &Arc<App>, transfer: &Transfer, params: &Value) -> Result<Leg, ApiError> {
    let params = Params::read(params)?;
    match (params.do_remote_decode, params.do_remote_prefill) {
        (false, false) => Ok(Leg::Whole),
        (true, _) if transfer.role == Role::Decode => Ok(Leg::Killing),
        (_, true) if transfer.role == Role::Prefill => Ok(Leg::Killing),
        (true, _) => match params.transfer_id {
            Some(name) if !name.is_empty() => Ok(Leg::Prefill(Prefill::Push(name))),
            _ => Err(ApiError::Invalid("kv_transfer_params without transfer_id".to_owned())),
        },
        (false, true) => {
            let Params { remote_engine_id, remote_bootstrap_addr, transfer_id, .. } = params;
            let Some(((engine_id, url), name)) = remote_engine_id.zip(remote_bootstrap_addr).zip(transfer_id)
            else {
                const LACKING: &str = "kv_transfer_params have not all of remote_engine_id, remote_bootstrap_addr and \
                                       transfer_id";
                return Err(ApiError::Invalid(LACKING.to_owned()));
            };
            let wait_ms = u64::try_from(transfer.partner_time_max.as_millis()).unwrap_or(u64::MAX);
            let claim =
                Claim { name, engine_id: Some(engine_id), handover: Value::Null, wait_ms, is_blind: false };
            Ok(Leg::Decode(Decode::Pushed(Fetch::new(app, Peer::Registry { url }, claim))))
        }
    }
}

/// What the bootstrap server says of the engine's workers, by data-parallel rank.
pub(super) fn registry(app: &App) -> Value {
    json!({"0": {"engine_id": app.engine_id(), "worker_addr": {"0": {"0": app.side_addr.to_string()}}}})
}
