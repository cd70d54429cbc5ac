//! The prefill leg: computes a prompt and its first token, and keeps the blocks for the engine that goes on.

use super::{kept::Slip, nixl, only_one_prompt, sglang, tensorrt};
use crate::{
    api::{ApiError, ModelOutput, Protocol},
    model,
    server::{
        engine_server::App,
        fault::Nonsense,
        flight::Ticket,
        infer::{self, Job},
        reply::{Body, json as reply_json},
    },
};
use http::{Response, StatusCode};
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::oneshot;

/// How the engine that goes on finds the prompt.
#[derive(Debug)]
pub(in crate::server) enum Prefill {
    /// NIXL: by what the response hands over.
    Pull,
    /// Mooncake: by the transfer's name, which both legs have.
    Push(String),
    /// SGLang: in the rooms.
    Rooms(sglang::Rooms),
    /// TensorRT-LLM: by what the response hands over, which is only for the first token.
    Context,
}

// === impl Prefill ===

impl Prefill {
    pub(super) async fn serve(self, app: &Arc<App>, mut job: Job) -> Result<Response<Body>, ApiError> {
        let names = match &self {
            Self::Rooms(rooms) => rooms.names(job.output.choices.len())?,
            Self::Push(name) => vec![name.clone()],
            Self::Pull | Self::Context => vec![format!("{:08x}", app.next_id())],
        };
        if !matches!(self, Self::Rooms(_)) {
            only_one_prompt(&job)?;
        }
        if matches!(self, Self::Rooms(_)) {
            sglang::meet(app, &names).await?;
        }
        let wanted_tokens = job.output.output_tokens();
        if matches!(self, Self::Rooms(_) | Self::Context) {
            // These engines end with the first token by themselves, whatever the request says.
            job.output.choices.iter_mut().for_each(|choice| choice.output_tokens = 1);
            job.requests.iter_mut().for_each(|request| request.output_tokens = 1);
            job.output.capped = true;
        }
        job.requests.iter_mut().for_each(|request| request.leg = model::Leg::Prefill);
        let ticket = infer::submit(app, &job)?;
        if job.stream && matches!(self, Self::Pull) {
            // Chunks carry no parameters: nobody learns of the blocks, which are held all the same.
            return infer::respond(app, job, ticket).await;
        }
        let output = infer::finish(job.output.clone(), &ticket).await;
        let handed_over = Handed { app, output: &output, ticket: &ticket, fingerprints: &job.fingerprints };
        match self {
            Self::Pull => {
                let prompt = if job.protocol == Protocol::Completions { "-0" } else { "" };
                let name = format!("{}{prompt}-{}", output.id().as_str().unwrap_or_default(), names.concat());
                let params =
                    handed_over.keep(0, &name, |blocks, slip| nixl::handover(app, &name, blocks, slip)).0;
                let mut body = job.protocol.wire().whole(&output);
                body["kv_transfer_params"] = spoilt(app, params, nixl::empty);
                Ok(infer::with_counts(reply_json(StatusCode::OK, &body), &output))
            }
            Self::Context => {
                let id = app.next_id();
                let name = tensorrt::name(id);
                let params =
                    handed_over.keep(0, &name, |_, slip| tensorrt::handover(app, id, slip, &output)).0;
                let mut body = job.protocol.wire().whole(&output);
                let choice = &mut body["choices"][0];
                choice["disaggregated_params"] = spoilt(app, params, tensorrt::empty);
                choice["finish_reason"] = tensorrt::finish_reason(wanted_tokens, job.is_capped).into();
                body["prompt_token_ids"] = job.prompt_tokens.as_slice().into();
                Ok(infer::with_counts(reply_json(StatusCode::OK, &body), &output))
            }
            Self::Push(name) => {
                drop(handed_over.keep(0, &name, |_, _| Value::Null));
                infer::respond(app, job, ticket).await
            }
            Self::Rooms(_) => {
                let fetched: Vec<_> = names
                    .iter()
                    .enumerate()
                    .map(|(slot, name)| handed_over.keep(slot, name, |_, _| Value::Null).1)
                    .collect();
                sglang::wait_for_transfer(app, &names, fetched).await?;
                infer::respond(app, job, ticket).await
            }
        }
    }
}

/// The finished prompts of a leg.
struct Handed<'a> {
    app: &'a App,
    output: &'a ModelOutput,
    ticket: &'a Ticket,
    fingerprints: &'a [u64],
}

// === impl Handed ===

impl Handed<'_> {
    /// Gives a prompt its name; returns what is handed over, and what ends when it was fetched.
    fn keep(
        &self,
        slot: usize,
        name: &str,
        handover: impl FnOnce(&[u32], Slip) -> Value,
    ) -> (Value, oneshot::Receiver<()>) {
        let Self { app, output, ticket, fingerprints } = self;
        let choice = &output.choices[slot];
        let slip = Slip {
            fingerprint: fingerprints[slot],
            prompt_tokens: choice.prompt_tokens,
            cached_tokens: choice.cached_tokens,
            lease_ms: u64::try_from(app.hub.lease().as_millis()).unwrap_or(u64::MAX),
            is_stale: false,
        };
        let kept = app.hub.with(|core, now_s| {
            let id = ticket.ids[slot];
            let blocks = core.engine.held_blocks(now_s, id).unwrap_or_default();
            let blocks: Vec<u32> = blocks.iter().map(|block| block.number()).collect();
            let handover = handover(&blocks, slip);
            (handover.clone(), core.kept.keep(name.to_owned(), id, slip, handover))
        });
        app.hub.met.notify_waiters();
        kept
    }
}

/// What is handed over as the faults let it pass.
fn spoilt(app: &App, handover: Value, empty: impl FnOnce(Value) -> Value) -> Value {
    let Some(nonsense) = app.faults.take_nonsense(true) else { return handover };
    app.count_fault();
    if nonsense == Nonsense::NoHandover { Value::Null } else { empty(handover) }
}
