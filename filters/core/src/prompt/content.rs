//! What OpenAI's formats share: lists of messages, the content of a message, and `stream_options`.

use super::list::list;
use super::omit::{AfterLine, Omitted};
use super::{TextSink, text};
use crate::json::{JsonError, KnownFields, Raw, Scanner};
use crate::limits::PROMPT_ITEMS_MAX;
use std::borrow::Cow;

/// A part of a message's content: its type and its text.
type Part<'a> = (Option<Cow<'a, str>>, Option<Raw<'a>>);

/// A list of messages; `null` is an empty list.
pub(super) fn messages<'a, T>(
    scanner: &mut Scanner<'a>,
    read: impl Fn(&mut Scanner<'a>) -> Result<T, JsonError>,
) -> Result<Vec<T>, JsonError> {
    if scanner.peek()? == b'n' {
        return scanner.skip().map(|()| Vec::new());
    }
    list(scanner, PROMPT_ITEMS_MAX, read).map(|(messages, _)| messages)
}

/// Whether `stream_options` request the usage. Options of an unexpected shape do not.
pub(super) fn includes_usage(scanner: &mut Scanner<'_>) -> Result<bool, JsonError> {
    let (includes, _) = scanner.read_or_raw(|scanner| {
        let mut includes = None;
        let mut fields = KnownFields::open(scanner, &["include_usage"])?;
        while fields.next(scanner)?.is_some() {
            includes = match scanner.present()? {
                Some(raw) => Some(raw.parsed().ok_or(JsonError::Shape)?),
                None => None,
            };
        }
        Ok(includes)
    })?;
    Ok(includes.flatten().unwrap_or(false))
}

/// Sends a message's content: a string, or a list of parts.
pub(super) fn content_text(content: Raw<'_>, sink: &mut impl TextSink) -> bool {
    text::string_or_items(content, sink, part, part_text)
}

/// The same of a system prompt, without the lines that engines cut out.
pub(super) fn system_text(content: Raw<'_>, omitted: Omitted<'_>, sink: &mut impl TextSink) -> bool {
    if omitted.matches(content) {
        return text::string_or_raw(content, &mut AfterLine::new(sink));
    }
    text::string_or_items(content, sink, part, |part, raw, sink| match part {
        Some((_, Some(value))) if omitted.matches(value) => {
            text::string_or_raw(value, &mut AfterLine::new(sink))
        }
        part => part_text(part, raw, sink),
    })
}

/// Sends a list of parts, a single part, or a string.
pub(super) fn parts_text(value: Raw<'_>, sink: &mut impl TextSink) -> bool {
    match text::first_byte(value) {
        Some(b'{') if value.is_list() => content_text(value, sink),
        Some(b'{') => part_text(part(&mut value.scanner()).ok(), value, sink),
        _ => text::string_or_raw(value, sink),
    }
}

fn part_text(part: Option<Part<'_>>, raw: Raw<'_>, sink: &mut impl TextSink) -> bool {
    let Some((kind, text)) = part else { return text::opaque("part", raw, sink) };
    match (kind.as_deref(), text) {
        (Some("text" | "input_text" | "output_text" | "refusal") | None, Some(value)) => {
            text::string_or_raw(value, sink)
        }
        (kind, _) => text::opaque(kind.unwrap_or("part"), raw, sink),
    }
}

fn part<'a>(scanner: &mut Scanner<'a>) -> Result<Part<'a>, JsonError> {
    let (mut kind, mut text) = Part::default();
    let mut fields = KnownFields::open(scanner, &["type", "text"])?;
    while let Some(name) = fields.next(scanner)? {
        match name {
            "type" => kind = scanner.string()?,
            _ => text = scanner.present()?,
        }
    }
    Ok((kind, text))
}
