//! vLLM with NIXL: the prefill engine keeps the blocks of its request and says where; the decode engine reads them.
//!
//! Source: vLLM 0.32, `distributed/kv_transfer/kv_connector/v1/nixl`. The exchange was also captured from two engines on CPUs.
//! The prefill leg must not be a stream, because chunks carry no `kv_transfer_params`. The blocks are kept for a lease of 30 s
//! by default, and longer while the request waits in a decode engine. What a decode engine does that cannot reach the other one is
//! its `kv_load_failure_policy`.
//!
//! A handover is good for one decode leg that reaches an engine. The blocks are free after the first read, as after the lease, and
//! nobody checks whether they still hold the prompt: a second read succeeds and computes with whatever prompt is in them then.

use super::NotEditable;
use super::first_leg::{first_leg, with_fields};
use super::handover::{Handover, HandoverError, fields, owned};
use crate::json::{Change, Raw};
use crate::prompt::Api;

const FIELD: &str = "kv_transfer_params";
/// All fields that a connector reads, as vLLM's own proxies send them.
const KEEP: &str = r#"{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"remote_block_ids":null,"remote_host":null,"remote_port":null}"#;

pub(super) fn prefill(api: Api, body: &[u8]) -> Result<Vec<u8>, NotEditable> {
    first_leg(api, body, &[(FIELD, Change::Set(KEEP))], &[])
}

pub(super) fn handover(response: &[u8]) -> Result<Handover, HandoverError> {
    let [params] = fields(response, &[FIELD])?;
    let params = params.ok_or(HandoverError::Absent)?;
    if !is_complete(params) {
        return Err(HandoverError::Absent);
    }
    owned(params.bytes()).map(Handover::Transfer)
}

pub(super) fn decode(body: &[u8], params: &str) -> Result<Vec<u8>, NotEditable> {
    with_fields(body, &[(FIELD, params)])
}

/// Whether parameters say all that a decode engine needs. One that is to read and does not know what ends its process, and one that
/// does not know from where waits for ever.
fn is_complete(params: Raw<'_>) -> bool {
    const NEEDED: [&str; 5] =
        ["remote_block_ids", "remote_engine_id", "remote_request_id", "remote_host", "remote_port"];
    let Ok(found) = fields(params.bytes(), &NEEDED) else { return false };
    let [blocks, ..] = found;
    found.iter().all(Option::is_some) && blocks.is_some_and(|blocks| blocks.scanner().is_filled() == Ok(true))
}
