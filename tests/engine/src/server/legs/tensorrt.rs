//! TensorRT-LLM's `disaggregated_params`: a context engine computes the prompt and the first token, a generation engine goes on.
//!
//! Source: TensorRT-LLM's `serve/openai_protocol.py`, `serve/openai_disagg_service.py`. What the generation engine needs to find the
//! context is in `encoded_opaque_state`, which nobody else reads: here, the address of the side channel.

use super::{
    Fields, Leg,
    decode::Decode,
    fetch::{Claim, Fetch, Peer},
    kept::Slip,
    prefill::Prefill,
};
use crate::{
    api::{ApiError, ModelOutput, Protocol},
    server::engine_server::App,
    text::token_ids,
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{net::SocketAddr, sync::Arc};

/// The parameters, as far as they decide something.
#[derive(Debug, Deserialize)]
struct Params {
    request_type: String,
    ctx_request_id: Option<u64>,
    first_gen_tokens: Option<Vec<u32>>,
    encoded_opaque_state: Option<String>,
}

fn invalid(reason: &str) -> ApiError {
    ApiError::Leg(StatusCode::BAD_REQUEST, format!("disaggregated_params: {reason}"))
}

/// The leg of a request.
pub(super) fn leg(app: &Arc<App>, api: Protocol, fields: Fields) -> Result<Leg, ApiError> {
    let Some(mut handover) = fields.disaggregated_params else { return Ok(Leg::Whole) };
    if !matches!(api, Protocol::Completions | Protocol::Chat) {
        return Err(invalid("this protocol has none"));
    }
    let params = Params::deserialize(&handover).map_err(|error| invalid(&error.to_string()))?;
    match params.request_type.as_str() {
        "context_and_generation" => Ok(Leg::Whole),
        "context_only" if fields.stream == Some(true) => Err(invalid("a context is no stream")),
        "context_only" => Ok(Leg::Prefill(Prefill::Context)),
        "generation_only" => {
            let Params { ctx_request_id, first_gen_tokens, encoded_opaque_state, .. } = params;
            let Some((id, state)) = ctx_request_id.zip(encoded_opaque_state) else {
                return Err(invalid("a generation needs ctx_request_id and encoded_opaque_state"));
            };
            if first_gen_tokens.is_none_or(|tokens| tokens.len() != 1) {
                return Err(invalid("a generation needs first_gen_tokens"));
            }
            let addr: SocketAddr =
                state.parse().map_err(|_| invalid("encoded_opaque_state is not the context's"))?;
            handover["request_type"] = json!("context_only");
            let peer = Peer::Address { host: addr.ip().to_string(), port: addr.port() };
            let claim = Claim { name: name(id), engine_id: None, handover, wait_ms: 0, is_blind: false };
            Ok(Leg::Decode(Decode::Given(Fetch::new(app, peer, claim), fields.prompt_token_ids)))
        }
        other => Err(invalid(&format!("unknown request_type {other:?}"))),
    }
}

/// The name of a context's transfer.
pub(super) fn name(id: u64) -> String {
    format!("context-{id}")
}

/// What the response of a context hands over.
pub(super) fn handover(app: &App, id: u64, slip: Slip, output: &ModelOutput) -> Value {
    let first = output.choices.first().map(|choice| choice.filler.text(0..1)).unwrap_or_default();
    json!({
        "request_type": "context_only", "first_gen_tokens": token_ids(first.as_bytes()), "ctx_request_id": id,
        "encoded_opaque_state": app.side_addr.to_string(), "draft_tokens": null, "disagg_request_id": null,
        "ctx_dp_rank": 0, "ctx_info_endpoint": null, "schedule_style": null,
        "ctx_usage": {
            "prompt_tokens": slip.prompt_tokens, "completion_tokens": 1, "total_tokens": slip.prompt_tokens + 1,
            "prompt_tokens_details": {"cached_tokens": slip.cached_tokens},
        },
    })
}

/// The same without what the generation engine needs.
pub(super) fn empty(_: Value) -> Value {
    json!({"request_type": "context_only"})
}

/// Why a context ended, by the tokens that the request has still to get.
pub(super) fn finish_reason(wanted_tokens: usize, is_capped: bool) -> &'static str {
    match (wanted_tokens, is_capped) {
        (0 | 1, true) => "length",
        (0 | 1, false) => "stop",
        _ => "not_finished",
    }
}
