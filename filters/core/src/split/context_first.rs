//! TensorRT-LLM: a context engine computes the prompt and the first token; a generation engine goes on.
//!
//! Source: TensorRT-LLM's `serve/openai_disagg_service.py`. The request keeps its limits, because the context engine stops after the
//! first token by itself. The generation engine takes the tokens of the prompt, so it need not tokenize again and cannot
//! get another prompt. A response that has ended otherwise than by its length is complete.

use super::NotEditable;
use super::first_leg::with_fields;
use super::handover::{Handover, HandoverError, fields, owned};
use crate::json::{Change, Edits, Raw};
use crate::prompt::Api;

const FIELD: &str = "disaggregated_params";

pub(super) fn prefill(body: &[u8]) -> Result<Vec<u8>, NotEditable> {
    let changes = [
        ("stream", Change::Set("false")),
        ("stream_options", Change::Remove),
        (FIELD, Change::Set(r#"{"request_type":"context_only"}"#)),
    ];
    Ok(Edits::of(body, &changes)?.apply(body))
}

pub(super) fn handover(response: &[u8]) -> Result<Handover, HandoverError> {
    let [choices, tokens] = fields(response, &["choices", "prompt_token_ids"])?;
    let mut scanner = choices.ok_or(HandoverError::Absent)?.scanner();
    scanner.open_list()?;
    if !scanner.has_item()? {
        return Err(HandoverError::Absent);
    }
    let [params, finish] = fields(scanner.raw()?.bytes(), &[FIELD, "finish_reason"])?;
    let goes_on =
        finish.and_then(Raw::string_body).is_none_or(|reason| matches!(reason, b"length" | b"not_finished"));
    if !goes_on {
        return Ok(Handover::Complete);
    }
    let params = owned(generation(params.ok_or(HandoverError::Absent)?)?.as_slice())?;
    let prompt_token_ids = tokens.filter(|tokens| tokens.is_list()).map(|tokens| owned(tokens.bytes()));
    Ok(Handover::Context { params, prompt_token_ids: prompt_token_ids.transpose()? })
}

pub(super) fn decode(
    api: Api,
    body: &[u8],
    params: &str,
    prompt_token_ids: Option<&str>,
) -> Result<Vec<u8>, NotEditable> {
    let name = match api {
        Api::Completions => "prompt",
        _ => "prompt_token_ids",
    };
    let tokens = prompt_token_ids.map(|tokens| (name, tokens));
    let fields: Vec<(&str, &str)> = std::iter::once((FIELD, params)).chain(tokens).collect();
    with_fields(body, &fields)
}

/// The context's parameters as those of a generation.
fn generation(params: Raw<'_>) -> Result<Vec<u8>, HandoverError> {
    let edits = Edits::of(params.bytes(), &[("request_type", Change::Set(r#""generation_only""#))])?;
    Ok(edits.apply(params.bytes()))
}
