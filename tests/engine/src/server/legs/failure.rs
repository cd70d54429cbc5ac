//! A decode engine that cannot fetch a prompt: vLLM's `kv_load_failure_policy`; the others fail.
//!
//! A request that fails gets 500, and a stream 200 with the error as an event: its head goes out before the failure is looked
//! at. That is how vLLM 0.32 does it, in each of its protocols, and SGLang.

use super::{LoadFailure, TransferProtocol, fetch::FetchError, sglang};
use crate::{
    api::{ApiError, Protocol},
    model::Leg,
    server::{
        engine_server::App,
        infer::{self, Job},
        reply::{Body, broken_after, whole, with_body},
    },
};
use http::{Response, StatusCode};
use serde_json::json;
use std::{fmt::Write, sync::Arc};

/// The response to a decode leg whose prompt did not come.
pub(super) async fn respond(
    app: &Arc<App>,
    mut job: Job,
    error: &FetchError,
) -> Result<Response<Body>, ApiError> {
    app.hub.count_leg(|legs| &mut legs.fetches_failed);
    let Some(transfer) = &app.config.transfer else { return Err(ApiError::Internal) };
    tokio::time::sleep(transfer.load_failure_after).await;
    let error = match transfer.protocol {
        TransferProtocol::Nixl | TransferProtocol::Mooncake => match transfer.load_failure {
            LoadFailure::Fail => Some(ApiError::Internal),
            LoadFailure::Recompute => None,
        },
        TransferProtocol::Sglang => Some(sglang::failure(error)),
        TransferProtocol::TensorRt => {
            let reason = format!("the context's KV cache did not come: {error}");
            Some(ApiError::Leg(StatusCode::INTERNAL_SERVER_ERROR, reason))
        }
    };
    if let Some(error) = error {
        return if job.stream { Ok(stream(&job, &error)) } else { Err(error) };
    }
    app.hub.count_leg(|legs| &mut legs.prompts_recomputed);
    for (choice, fingerprint) in job.output.choices.iter_mut().zip(&job.fingerprints) {
        choice.filler = app.filler(*fingerprint);
    }
    job.requests.iter_mut().for_each(|request| request.leg = Leg::Whole);
    let ticket = infer::submit(app, &job)?;
    infer::respond(app, job, ticket).await
}

/// A stream that says that it has failed.
fn stream(job: &Job, error: &ApiError) -> Response<Body> {
    const EVENTS: &str = "text/event-stream; charset=utf-8";
    let (wire, mut events) = (job.protocol.wire(), String::new());
    match job.protocol {
        Protocol::Chat | Protocol::Completions => {
            let error = if let ApiError::Leg(..) = error {
                json!({"error": error.flat_body()})
            } else {
                wire.opening(&job.output, &mut events);
                error.openai_body()
            };
            let _ = write!(events, "data: {error}\n\ndata: [DONE]\n\n");
        }
        Protocol::Messages => {
            let error = json!({"type": "internal_error", "message": error.to_string()});
            let event = json!({"type": "error", "error": error});
            let _ = write!(events, "event: error\ndata: {event}\n\n");
        }
        // vLLM fails to encode the error as an event of this protocol, and the connection breaks.
        Protocol::Responses => {
            wire.created(&job.output, &mut events);
            return with_body(StatusCode::OK, EVENTS, broken_after(events));
        }
    }
    whole(StatusCode::OK, EVENTS, events)
}
