//! `/v1/completions`: the prompt is the text itself, or its token ids.
//!
//! A list of prompts is one request to one engine: it is matched by its first prompt, which also stands for
//! the others in batch jobs that share a preamble.

use super::list::{List, lenient};
use super::{Fields as AnyFields, Request, TextSink, chat::StreamOptions, json, text};
use crate::limits::{PROMPT_ITEMS_MAX, PROMPT_TOKENS_READ_MAX};
use crate::num::u64_len;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What of the body makes its prompt.
#[derive(Debug)]
pub(super) enum Fields<'a> {
    /// The first prompt is a string.
    Text(&'a RawValue),
    /// The first prompt is a list of token ids; `total` counts those of all prompts.
    Tokens { first: Vec<u32>, total: u64 },
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
    #[serde(default, deserialize_with = "lenient")]
    stream: Option<bool>,
    #[serde(default, deserialize_with = "lenient")]
    stream_options: Option<StreamOptions>,
    #[serde(default, deserialize_with = "lenient")]
    max_tokens: Option<u64>,
}

/// Token ids, as many as cells are made of.
type Tokens = List<u32, PROMPT_TOKENS_READ_MAX>;
/// Only how many there are.
type Count = List<IgnoredAny, 0>;

/// Parses a completions body.
pub(super) fn parse(body: &[u8]) -> Result<Request<'_>, serde_json::Error> {
    let body: Body<'_> = serde_json::from_slice(body)?;
    let fields = match text::present(body.prompt) {
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
        Fields::Tokens { first, .. } => {
            // 0xFF is in no UTF-8 text.
            let _ = sink.push(&[0xFF]) && first.iter().all(|token| sink.push(&token.to_le_bytes()));
        }
        Fields::None => {}
    }
}

/// The number of token ids, if the prompt is such.
pub(super) fn exact_tokens(fields: &Fields<'_>) -> Option<u64> {
    match fields {
        Fields::Tokens { total, .. } => Some(*total),
        Fields::Text(_) | Fields::None => None,
    }
}

fn prompt_of(prompt: &RawValue) -> Result<Fields<'_>, serde_json::Error> {
    if prompt.get().starts_with('"') {
        return Ok(Fields::Text(prompt));
    }
    // A list of ids is the common long form: try it whole before looking at elements.
    if let Ok(List { items, total }) = serde_json::from_str::<Tokens>(prompt.get()) {
        return Ok(if total == 0 {
            Fields::None
        } else {
            Fields::Tokens { first: items, total: u64_len(total) }
        });
    }
    let prompts: List<&RawValue, PROMPT_ITEMS_MAX> = serde_json::from_str(prompt.get())?;
    match prompts.items.first() {
        Some(first) if first.get().starts_with('"') => Ok(Fields::Text(first)),
        Some(first) => {
            let first: Tokens = serde_json::from_str(first.get())?;
            let others = prompts.items.iter().skip(1).map(|other| serde_json::from_str::<Count>(other.get()));
            let total = others.flatten().fold(first.total, |total, other| total.saturating_add(other.total));
            Ok(Fields::Tokens { first: first.items, total: u64_len(total) })
        }
        None => Ok(Fields::None),
    }
}
