//! `/v1/completions`: the prompt is the text itself, or its token ids.
//!
//! A list of prompts is one request to one engine. It is matched by its first prompt, which represents the others in
//! batch jobs that share a preamble.

use super::content::includes_usage;
use super::list::list;
use super::text::Length;
use super::{Prompt, Request, Start, TextSink, text};
use crate::json::{JsonError, KnownFields, Raw, Scanner};
use crate::limits::{PROMPT_ITEMS_MAX, PROMPT_TOKENS_READ_MAX};
use crate::num::u64_len;

/// The prompt of a completions body.
#[derive(Debug)]
pub(super) enum CompletionPrompt<'a> {
    /// The first prompt is a string; `others_bytes` is the text of the others.
    Text { first: Raw<'a>, others_bytes: usize },
    /// The first prompt is a list of token ids; `total` counts those of all prompts.
    Tokens { first: Vec<u32>, total: u64 },
    /// Embeddings in place of text.
    Embeds(Raw<'a>),
    /// No prompt.
    None,
}

/// Parses a completions body.
pub(super) fn parse<'a>(scanner: &mut Scanner<'a>) -> Result<Request<'a>, JsonError> {
    let mut request = Request::new(Prompt::None);
    let (mut prompt, mut embeds) = (CompletionPrompt::None, None);
    let mut fields = KnownFields::open(
        scanner,
        &[
            "model",
            "prompt",
            "prompt_embeds",
            "cache_salt",
            "stream",
            "stream_options",
            "max_tokens",
            "add_special_tokens",
            "truncate_prompt_tokens",
        ],
    )?;
    while let Some(name) = fields.next(scanner)? {
        match name {
            "prompt" => {
                prompt = match scanner.present()? {
                    Some(value) => prompt_of(value)?,
                    None => CompletionPrompt::None,
                };
            }
            "prompt_embeds" => embeds = scanner.present()?,
            "stream_options" => request.has_usage_in_stream = includes_usage(scanner)?,
            "max_tokens" => request.output_tokens_max = scanner.raw()?.parsed(),
            "add_special_tokens" if scanner.raw()?.parsed() == Some(false) && request.start != Start::Cut => {
                request.start = Start::Plain;
            }
            "truncate_prompt_tokens" if scanner.present()?.is_some() => request.start = Start::Cut,
            "add_special_tokens" | "truncate_prompt_tokens" => {}
            _ => request.read(name, scanner)?,
        }
    }
    if let (CompletionPrompt::None, Some(embeds)) = (&prompt, embeds) {
        prompt = CompletionPrompt::Embeds(embeds);
    }
    request.prompt = Prompt::Completions(prompt);
    Ok(request)
}

/// Sends the canonical text: a string as it is, token ids as their bytes behind a mark that no text begins with.
pub(super) fn text(prompt: &CompletionPrompt<'_>, sink: &mut impl TextSink) {
    match prompt {
        CompletionPrompt::Text { first, others_bytes } => {
            sink.note_text(*others_bytes);
            text::string_or_raw(*first, sink);
        }
        CompletionPrompt::Tokens { first, .. } => {
            // UTF-8 text never contains 0xFF.
            let _ = sink.push(&[0xFF]) && first.iter().all(|token| sink.push(&token.to_le_bytes()));
        }
        CompletionPrompt::Embeds(raw) => {
            text::opaque("embeds", *raw, sink);
        }
        CompletionPrompt::None => {}
    }
}

/// The number of token ids, if the prompt is a list of them.
pub(super) fn exact_tokens(prompt: &CompletionPrompt<'_>) -> Option<u64> {
    match prompt {
        CompletionPrompt::Tokens { total, .. } => Some(*total),
        CompletionPrompt::Text { .. } | CompletionPrompt::Embeds(_) | CompletionPrompt::None => None,
    }
}

/// As [`prompt_of`]; a prompt of another shape, which an engine may take all the same, is hashed as it is written.
pub(super) fn lenient_prompt_of(value: Raw<'_>) -> CompletionPrompt<'_> {
    prompt_of(value).unwrap_or(CompletionPrompt::Text { first: value, others_bytes: 0 })
}

fn prompt_of(value: Raw<'_>) -> Result<CompletionPrompt<'_>, JsonError> {
    if value.string_body().is_some() {
        return Ok(CompletionPrompt::Text { first: value, others_bytes: 0 });
    }
    // Long prompts are usually one list of ids: try that before the elements.
    if let Ok((first, total)) = tokens(value) {
        return Ok(if total == 0 {
            CompletionPrompt::None
        } else {
            CompletionPrompt::Tokens { first, total: u64_len(total) }
        });
    }
    let (prompts, _) = list(&mut value.scanner(), PROMPT_ITEMS_MAX, Scanner::raw)?;
    match prompts.first() {
        Some(first) if first.string_body().is_some() => {
            let mut others = Length::default();
            for other in prompts.iter().skip(1) {
                text::string_or_raw(*other, &mut others);
            }
            Ok(CompletionPrompt::Text { first: *first, others_bytes: others.0 })
        }
        Some(first) => {
            let (first, own) = tokens(*first)?;
            let others = prompts.iter().skip(1).map(|other| list(&mut other.scanner(), 0, Scanner::skip));
            let total = others.flatten().fold(own, |total, (_, other)| total.saturating_add(other));
            Ok(CompletionPrompt::Tokens { first, total: u64_len(total) })
        }
        None => Ok(CompletionPrompt::None),
    }
}

/// Reads a list of token ids: as many as the cells need, and how many there are.
fn tokens(raw: Raw<'_>) -> Result<(Vec<u32>, usize), JsonError> {
    list(&mut raw.scanner(), PROMPT_TOKENS_READ_MAX, |scanner| {
        scanner.raw()?.parsed().ok_or(JsonError::Shape)
    })
}
