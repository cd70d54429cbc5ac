//! `/v1/completions`: the prompt is the text itself, or its token ids.
//!
//! A list of prompts is one request to one engine: it is matched by its first prompt, which also stands for
//! the others in batch jobs that share a preamble.

use super::chat::includes_usage;
use super::list::list;
use super::{Fields as AnyFields, Request, TextSink, text};
use crate::json::{Fields as Known, JsonError, Raw, Scanner};
use crate::limits::{PROMPT_ITEMS_MAX, PROMPT_TOKENS_READ_MAX};
use crate::num::u64_len;

/// What of the body makes its prompt.
#[derive(Debug)]
pub(super) enum Fields<'a> {
    /// The first prompt is a string.
    Text(Raw<'a>),
    /// The first prompt is a list of token ids; `total` counts those of all prompts.
    Tokens { first: Vec<u32>, total: u64 },
    /// No prompt.
    None,
}

/// Parses a completions body.
pub(super) fn parse<'a>(scanner: &mut Scanner<'a>) -> Result<Request<'a>, JsonError> {
    let mut request = Request::new(AnyFields::None);
    let mut fields = Fields::None;
    let mut known =
        Known::open(scanner, &["model", "prompt", "cache_salt", "stream", "stream_options", "max_tokens"])?;
    while let Some(name) = known.next(scanner)? {
        match name {
            "prompt" => {
                if let Some(prompt) = scanner.present()? {
                    fields = prompt_of(prompt)?;
                }
            }
            "stream_options" => request.has_usage_in_stream = includes_usage(scanner)?,
            "max_tokens" => request.output_tokens_max = scanner.raw()?.parsed(),
            _ => request.read(name, scanner)?,
        }
    }
    request.fields = AnyFields::Completions(fields);
    Ok(request)
}

/// Sends the canonical text: the prompt as it is; token ids as their bytes behind a mark that text cannot
/// begin with.
pub(super) fn text(fields: &Fields<'_>, sink: &mut impl TextSink) {
    match fields {
        Fields::Text(raw) => {
            text::string_or_raw(*raw, sink);
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

fn prompt_of(prompt: Raw<'_>) -> Result<Fields<'_>, JsonError> {
    if prompt.string_body().is_some() {
        return Ok(Fields::Text(prompt));
    }
    // A list of ids is the common long form: try it whole before looking at elements.
    if let Ok((first, total)) = tokens(prompt) {
        return Ok(if total == 0 { Fields::None } else { Fields::Tokens { first, total: u64_len(total) } });
    }
    let (prompts, _) = list(&mut prompt.scanner(), PROMPT_ITEMS_MAX, Scanner::raw)?;
    match prompts.first() {
        Some(first) if first.string_body().is_some() => Ok(Fields::Text(*first)),
        Some(first) => {
            let (first, own) = tokens(*first)?;
            let others = prompts.iter().skip(1).map(|other| list(&mut other.scanner(), 0, Scanner::pass));
            let total = others.flatten().fold(own, |total, (_, other)| total.saturating_add(other));
            Ok(Fields::Tokens { first, total: u64_len(total) })
        }
        None => Ok(Fields::None),
    }
}

/// A list of token ids, as many as cells are made of, and how many there are.
fn tokens(raw: Raw<'_>) -> Result<(Vec<u32>, usize), JsonError> {
    list(&mut raw.scanner(), PROMPT_TOKENS_READ_MAX, |scanner| {
        scanner.raw()?.parsed().ok_or(JsonError::Shape)
    })
}
