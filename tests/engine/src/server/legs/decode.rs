//! The decode leg: fetches a prompt that another engine computed, and goes on from there.

use super::{
    failure,
    fetch::{Fetch, FetchError},
    kept::Slip,
    only_one_prompt, sglang,
};
use crate::{
    api::ApiError,
    model,
    server::{
        engine_server::App,
        flight::Ticket,
        infer::{self, Job},
        reply::Body,
    },
};
use futures::future::try_join_all;
use http::Response;
use std::{sync::Arc, time::Duration};

/// Where a decode leg's prompts are.
#[derive(Debug)]
pub(in crate::server) enum Decode {
    /// One prompt, with NIXL. The usage has the cached tokens of the other engine.
    One(Fetch),
    /// One prompt, with TensorRT-LLM, and its tokens if the request has them.
    Given(Fetch, Option<Vec<u32>>),
    /// One prompt, with Mooncake. All that was transferred counts as cached.
    Pushed(Fetch),
    /// SGLang: one for each prompt, in rooms.
    Rooms(sglang::Rooms),
}

/// Why a decode leg does not begin.
enum DecodeError {
    Api(ApiError),
    Fetch(FetchError),
}

// === impl Decode ===

impl Decode {
    pub(super) async fn serve(self, app: &Arc<App>, mut job: Job) -> Result<Response<Body>, ApiError> {
        let is_pushed = matches!(self, Self::Pushed(_));
        let fetches = match self {
            Self::One(fetch) | Self::Pushed(fetch) => {
                only_one_prompt(&job)?;
                vec![fetch]
            }
            Self::Given(fetch, tokens) => {
                only_one_prompt(&job)?;
                if tokens.is_some_and(|tokens| tokens != job.prompt_tokens) {
                    return Err(ApiError::Invalid(
                        "prompt_token_ids are not those of the messages".to_owned(),
                    ));
                }
                vec![fetch]
            }
            Self::Rooms(rooms) => rooms.fetches(app, job.output.choices.len())?,
        };
        match fetched(app, fetches, is_pushed, &mut job).await {
            Ok(ticket) => {
                app.hub.count_leg(|legs| &mut legs.prompts_fetched);
                infer::respond(app, job, ticket).await
            }
            Err(DecodeError::Api(error)) => Err(error),
            Err(DecodeError::Fetch(error)) => {
                app.hub.with(|core, _| core.fetch_error = Some(error.to_string()));
                failure::respond(app, job, &error).await
            }
        }
    }
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

/// Fetches the prompts.
async fn fetched(
    app: &Arc<App>,
    fetches: Vec<Fetch>,
    is_pushed: bool,
    job: &mut Job,
) -> Result<Ticket, DecodeError> {
    let slips = try_join_all(fetches.iter().map(Fetch::claim)).await?;
    for (slot, slip) in slips.iter().enumerate() {
        job.requests[slot].leg = model::Leg::Decode { remote_tokens: slip.prompt_tokens };
    }
    let mut ticket = infer::submit(app, job)?;
    let slips = claim_until(&fetches, slips, ticket.flight.all_arrived()).await?;
    for ((slot, mut slip), fetch) in slips.into_iter().enumerate().zip(fetches) {
        let name = fetch.name().to_owned();
        if !fetch.release().await? {
            slip = Slip::stale(&name);
        }
        if slip.is_stale {
            app.hub.count_leg(|legs| &mut legs.prompts_stale);
        }
        let choice = &mut job.output.choices[slot];
        choice.filler = app.filler(slip.fingerprint);
        // The last token of a prompt is always computed: it makes the first one of the output.
        ticket.cached_elsewhere.push(if is_pushed { choice.prompt_tokens - 1 } else { slip.cached_tokens });
    }
    Ok(ticket)
}

/// Waits for `arrival`, and keeps the claims alive meanwhile. Returns what the other engine said last.
async fn claim_until(
    fetches: &[Fetch],
    mut slips: Vec<Slip>,
    arrival: impl Future<Output = ()>,
) -> Result<Vec<Slip>, FetchError> {
    let mut arrival = std::pin::pin!(arrival);
    let lease_ms = slips.iter().map(|slip| slip.lease_ms).min().unwrap_or_default();
    let interval = Duration::from_millis((lease_ms / 3).max(1));
    loop {
        tokio::select! {
            () = arrival.as_mut() => return Ok(slips),
            () = tokio::time::sleep(interval) => {
                slips = try_join_all(fetches.iter().map(Fetch::claim)).await?;
            }
        }
    }
}
