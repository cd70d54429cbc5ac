//! Requests that two engines serve together: one computes the prompt (prefill leg), the other one generates (decode leg).
//!
//! ```text
//!  prefill leg ─► model: prompt, one token ─► kept: blocks held for a lease ─► response with the handover
//!                                              ▲ claim, renew, release (side channel, HTTP)
//!  decode leg ──► fetch ───────────────────────┘
//!                   └─► model: queue, transfer ─► release ─► generates, as if it had computed the prompt
//! ```
//!
//! A file for each protocol reads its fields, strictly: what the real engine would fail on fails here, and what it would overlook
//! fails too where it means that the sender was wrong. The rest is the same for all protocols.

mod config;
mod count;
mod failure;
mod fetch;
mod kept;
mod nixl;
mod side;

pub use config::{LoadFailure, Role, Transfer, TransferProtocol, UnknownName};
pub use count::Legs;
pub(super) use kept::KeptPrompts;
pub(super) use side::respond;

use self::{
    fetch::{Fetch, FetchError},
    kept::Slip,
};
use super::{
    engine_server::App,
    fault::Nonsense,
    flight::Ticket,
    infer::{self, Job},
    reply::{Body, json as reply_json},
};
use crate::{api::ApiError, model, text::Filler};
use bytes::Bytes;
use http::{Response, StatusCode};
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
    Decode(Fetch),
    /// It ends the engine's process.
    Killing,
}

/// How a prefill leg's prompt is found.
pub(super) enum Prefill {
    /// By a name that the response says.
    Named,
}

/// The fields of all protocols.
#[derive(Deserialize)]
struct Fields {
    kv_transfer_params: Option<Value>,
}

/// Reads which leg a request is. Engines without a protocol overlook all of its fields, as vLLM does without a connector.
pub(super) fn read(app: &Arc<App>, body: &Bytes) -> Result<Leg, ApiError> {
    let Some(transfer) = &app.config.transfer else { return Ok(Leg::Whole) };
    let fields: Fields = serde_json::from_slice(body).map_err(ApiError::BadJson)?;
    let leg = match (transfer.protocol, fields.kv_transfer_params) {
        (TransferProtocol::Nixl, Some(params)) => nixl::leg(app, params),
        (TransferProtocol::Nixl, None) => Ok(Leg::Whole),
        _ => Err(ApiError::Invalid("the protocol is not simulated".to_owned())),
    };
    app.hub.count_leg(|legs| match &leg {
        Ok(Leg::Whole) => &mut legs.whole,
        Ok(Leg::Prefill(_)) => &mut legs.prefills,
        Ok(Leg::Decode(_)) => &mut legs.decodes,
        Ok(Leg::Killing) => &mut legs.killing,
        Err(_) => &mut legs.refused,
    });
    leg
}

/// Serves a request, or its leg.
pub(super) async fn serve(app: &Arc<App>, leg: Leg, job: Job) -> Result<Response<Body>, ApiError> {
    if !matches!(leg, Leg::Whole) && job.output.choices.len() != 1 {
        return Err(ApiError::Invalid("legs of several prompts are not simulated".to_owned()));
    }
    match leg {
        Leg::Whole => whole(app, job).await,
        Leg::Prefill(prefill) => self::prefill(app, prefill, job).await,
        Leg::Decode(fetch) => decode(app, fetch, job).await,
        Leg::Killing => {
            app.die();
            std::future::pending().await
        }
    }
}

async fn whole(app: &Arc<App>, job: Job) -> Result<Response<Body>, ApiError> {
    let ticket = infer::submit(app, &job)?;
    infer::respond(app, job, ticket).await
}

async fn prefill(app: &Arc<App>, prefill: Prefill, mut job: Job) -> Result<Response<Body>, ApiError> {
    job.requests.iter_mut().for_each(|request| request.leg = model::Leg::Prefill);
    let ticket = infer::submit(app, &job)?;
    if job.stream {
        // Chunks carry no parameters: nobody learns of the blocks, which are held all the same.
        return infer::respond(app, job, ticket).await;
    }
    let fingerprint = job.fingerprint;
    let output = infer::finish(job.output, &ticket).await;
    let Prefill::Named = prefill;
    let name = format!("{}-{:08x}", output.id().as_str().unwrap_or_default(), app.next_id());
    let slip = Slip {
        fingerprint,
        prompt_tokens: output.prompt_tokens(),
        cached_tokens: output.cached_tokens(),
        lease_ms: u64::try_from(app.hub.lease().as_millis()).unwrap_or(u64::MAX),
    };
    let mut handover = keep(app, &name, &ticket, slip);
    if let Some(nonsense) = app.faults.take_nonsense(true) {
        app.count_fault();
        handover = if nonsense == Nonsense::NoHandover { Value::Null } else { nixl::empty(handover) };
    }
    let mut body = job.protocol.wire().whole(&output);
    body["kv_transfer_params"] = handover;
    Ok(infer::with_counts(reply_json(StatusCode::OK, &body), &output))
}

/// Gives the prompt of a finished prefill leg its name; returns what is handed over.
fn keep(app: &App, name: &str, ticket: &Ticket, slip: Slip) -> Value {
    let handover = app.hub.with(|core, now_s| {
        let Some(id) = ticket.ids.first() else { return Value::Null };
        let blocks = core.engine.held_blocks(now_s, *id).unwrap_or_default();
        let blocks: Vec<u32> = blocks.iter().map(|block| block.number()).collect();
        let handover = nixl::handover(app, name, &blocks, slip);
        drop(core.kept.keep(name.to_owned(), *id, slip, handover.clone()));
        handover
    });
    app.hub.met.notify_waiters();
    handover
}

async fn decode(app: &Arc<App>, fetch: Fetch, mut job: Job) -> Result<Response<Body>, ApiError> {
    match fetched(app, fetch, &mut job).await {
        Ok(ticket) => {
            app.hub.count_leg(|legs| &mut legs.prompts_fetched);
            infer::respond(app, job, ticket).await
        }
        Err(DecodeError::Api(error)) => Err(error),
        Err(DecodeError::Fetch(error)) => {
            app.hub.with(|core, _| core.fetch_error = Some(error.to_string()));
            failure::respond(app, job).await
        }
    }
}

/// Why a decode leg does not begin.
enum DecodeError {
    Api(ApiError),
    Fetch(FetchError),
}

// === impl DecodeError ===

impl From<ApiError> for DecodeError {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<FetchError> for DecodeError {
    fn from(error: FetchError) -> Self {
        Self::Fetch(error)
    }
}

/// Fetches the prompt of a decode leg.
async fn fetched(app: &Arc<App>, fetch: Fetch, job: &mut Job) -> Result<Ticket, DecodeError> {
    let slip = fetch.claim().await?;
    job.output.choices.iter_mut().for_each(|choice| {
        choice.filler = Filler::new(slip.fingerprint, app.config.seed);
    });
    for request in &mut job.requests {
        request.leg = model::Leg::Decode { remote_tokens: slip.prompt_tokens };
    }
    let mut ticket = infer::submit(app, job)?;
    ticket.cached_elsewhere = Some(slip.cached_tokens);
    fetch.hold_until(slip, ticket.flight.all_arrived()).await?;
    fetch.release().await?;
    Ok(ticket)
}
