//! Requests that two engines serve together: one computes the prompt (prefill leg), the other one generates (decode leg).
//!
//! ```text
//!  prefill leg ─► model: prompt, one token ─► kept: blocks held for a lease ─► response, with the handover if there is one
//!                                              ▲ claim, renew, release (side channel, HTTP)
//!  decode leg ──► fetch ───────────────────────┘
//!                   └─► model: queue, transfer ─► release ─► generates, as if it had computed the prompt
//! ```
//!
//! A file for each protocol reads its fields, strictly: what the real engine would fail on fails here, and what it would overlook
//! fails too where it means that the sender was wrong. The rest is the same for all protocols.

mod config;
mod count;
mod decode;
mod failure;
mod fetch;
mod kept;
mod mooncake;
mod nixl;
mod prefill;
mod sglang;
mod side;
mod tensorrt;

pub use config::{LoadFailure, Role, Transfer, TransferProtocol, UnknownName};
pub use count::Legs;
pub(super) use kept::KeptPrompts;
pub(super) use side::respond;

use self::{decode::Decode, prefill::Prefill, sglang::Rooms};
use super::{
    engine_server::App,
    infer::{self, Job},
    reply::Body,
};
use crate::api::{ApiError, Protocol};
use bytes::Bytes;
use http::Response;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// What a request's fields make of it.
pub(super) enum Leg {
    /// All of it is served here.
    Whole,
    /// Its prompt is kept for another engine.
    Prefill(Prefill),
    /// Its prompt is fetched from another engine.
    Decode(Decode),
    /// It ends the engine's process.
    Killing,
}

/// The fields of all protocols.
#[derive(Debug, Default, Deserialize)]
struct Fields {
    kv_transfer_params: Option<Value>,
    #[serde(flatten)]
    rooms: Rooms,
    disaggregated_params: Option<Value>,
    prompt_token_ids: Option<Vec<u32>>,
    stream: Option<bool>,
}

// === impl Fields ===

impl Fields {
    /// Refuses what only other protocols read.
    fn only_of(&self, protocol: TransferProtocol) -> Result<(), ApiError> {
        let foreign = match protocol {
            TransferProtocol::Nixl | TransferProtocol::Mooncake => {
                !self.rooms.is_empty() || self.disaggregated_params.is_some()
            }
            TransferProtocol::Sglang => {
                self.kv_transfer_params.is_some() || self.disaggregated_params.is_some()
            }
            TransferProtocol::TensorRt => self.kv_transfer_params.is_some() || !self.rooms.is_empty(),
        };
        if foreign {
            return Err(ApiError::Invalid(format!("the fields of a leg are not those of {protocol}")));
        }
        Ok(())
    }
}

/// Reads which leg a request is. Engines without a protocol overlook all of its fields, as vLLM does without a connector.
pub(super) fn read(app: &Arc<App>, api: Protocol, body: &Bytes) -> Result<Leg, ApiError> {
    let Some(transfer) = &app.config.transfer else { return Ok(Leg::Whole) };
    let leg = read_with(app, transfer, api, body);
    app.hub.count_leg(|legs| match &leg {
        Ok(Leg::Whole) => &mut legs.whole,
        Ok(Leg::Prefill(_)) => &mut legs.prefills,
        Ok(Leg::Decode(_)) => &mut legs.decodes,
        Ok(Leg::Killing) => &mut legs.killing,
        Err(_) => &mut legs.refused,
    });
    leg
}

fn read_with(app: &Arc<App>, transfer: &Transfer, api: Protocol, body: &Bytes) -> Result<Leg, ApiError> {
    let fields: Fields = serde_json::from_slice(body).map_err(ApiError::BadJson)?;
    fields.only_of(transfer.protocol)?;
    match transfer.protocol {
        TransferProtocol::Nixl => {
            fields.kv_transfer_params.map_or(Ok(Leg::Whole), |params| nixl::leg(app, params))
        }
        TransferProtocol::Mooncake => {
            fields.kv_transfer_params.map_or(Ok(Leg::Whole), |params| mooncake::leg(app, transfer, &params))
        }
        TransferProtocol::Sglang => sglang::leg(app, transfer, api, fields.rooms),
        TransferProtocol::TensorRt => tensorrt::leg(app, api, fields),
    }
}

/// Serves a request, or its leg.
pub(super) async fn serve(app: &Arc<App>, leg: Leg, job: Job) -> Result<Response<Body>, ApiError> {
    match leg {
        Leg::Whole => {
            let ticket = infer::submit(app, &job)?;
            infer::respond(app, job, ticket).await
        }
        Leg::Prefill(prefill) => prefill.serve(app, job).await,
        Leg::Decode(decode) => decode.serve(app, job).await,
        Leg::Killing => {
            app.die();
            std::future::pending().await
        }
    }
}

/// Refuses what a protocol serves with one prompt only.
fn only_one_prompt(job: &Job) -> Result<(), ApiError> {
    if job.output.choices.len() == 1 {
        return Ok(());
    }
    Err(ApiError::Invalid("legs of several prompts are not simulated for this protocol".to_owned()))
}
