//! `/v1/completions`: the prompt is the text itself, or its token ids.
//!
//! A list of prompts is one request to one engine: it is matched by its first prompt, which also stands for
//! the others in batch jobs that share a preamble.

use super::{Fields as AnyFields, Request, TextSink, chat::StreamOptions, json};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What of the body makes its prompt.
#[derive(Debug)]
pub(super) enum Fields<'a> {
    /// The first prompt is a string.
    Text(&'a RawValue),
    /// The first prompt is a list of token ids.
    Tokens(Vec<u32>),
    /// No prompt.
    None,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    model: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    prompt: Option<&'a RawValue>,
    #[serde(borrow, default)]
    cache_salt: Option<Cow<'a, str>>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    max_tokens: Option<u64>,
}

/// Parses a completions body.
pub(super) fn parse(body: &[u8]) -> Result<Request<'_>, serde_json::Error> {
    let body: Body<'_> = serde_json::from_slice(body)?;
    let fields = match super::text::present(body.prompt) {
        Some(prompt) => prompt_of(prompt)?,
        None => Fields::None,
    };
    Ok(Request {
        model: body.model.unwrap_or_default(),
        cache_salt: body.cache_salt,
        is_stream: body.stream.unwrap_or(false),
        has_usage_in_stream: body.stream_options.unwrap_or_default().include_usage.unwrap_or(false),
        output_tokens_max: body.max_tokens,
        fields: AnyFields::Completions(fields),
    })
}

/// Sends the canonical text: the prompt as it is; token ids as their bytes behind a mark that text cannot
/// begin with.
pub(super) fn text(fields: &Fields<'_>, sink: &mut impl TextSink) {
    match fields {
        Fields::Text(raw) => {
            if let Some(body) = json::string_body(raw) {
                json::unescape(body, &mut |piece| sink.push(piece));
            }
        }
        Fields::Tokens(tokens) => {
            // 0xFF is in no UTF-8 text.
            let _ = sink.push(&[0xFF]) && tokens.iter().all(|token| sink.push(&token.to_le_bytes()));
        }
        Fields::None => {}
    }
}

/// The number of token ids, if the prompt is such.
pub(super) fn exact_tokens(fields: &Fields<'_>) -> Option<u64> {
    match fields {
        Fields::Tokens(tokens) => Some(crate::num::u64_len(tokens.len())),
        Fields::Text(_) | Fields::None => None,
    }
}

fn prompt_of(prompt: &RawValue) -> Result<Fields<'_>, serde_json::Error> {
    if prompt.get().starts_with('"') {
        return Ok(Fields::Text(prompt));
    }
    // A list of ids is the common long form: try it whole before looking at elements.
    if let Ok(tokens) = serde_json::from_str::<Vec<u32>>(prompt.get()) {
        return Ok(if tokens.is_empty() { Fields::None } else { Fields::Tokens(tokens) });
    }
    let prompts: Vec<&RawValue> = serde_json::from_str(prompt.get())?;
    match prompts.into_iter().next() {
        Some(first) if first.get().starts_with('"') => Ok(Fields::Text(first)),
        Some(first) => Ok(Fields::Tokens(serde_json::from_str(first.get())?)),
        None => Ok(Fields::None),
    }
}
