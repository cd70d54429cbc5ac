//! `/v1/chat/completions`: OpenAI's chat, as vLLM, SGLang and TensorRT-LLM serve it.
//!
//! Fields: <https://platform.openai.com/docs/api-reference/chat/create>; `cache_salt` is vLLM's.

use super::list::list;
use super::{Fields as AnyFields, Request, TextSink, text};
use crate::json::{Fields as Known, JsonError, Raw, Scanner};
use crate::limits::PROMPT_ITEMS_MAX;
use std::borrow::Cow;

/// What of the body makes its prompt.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    tools: Option<Raw<'a>>,
    messages: Vec<Message<'a>>,
}

#[derive(Debug, Default)]
struct Message<'a> {
    role: Option<Cow<'a, str>>,
    content: Option<Raw<'a>>,
    tool_calls: Option<Raw<'a>>,
    tool_call_id: Option<Cow<'a, str>>,
}

/// A part of a content: its type and its text.
type Part<'a> = (Option<Cow<'a, str>>, Option<Raw<'a>>);

/// Parses a chat body.
pub(super) fn parse<'a>(scanner: &mut Scanner<'a>) -> Result<Request<'a>, JsonError> {
    let mut request = Request::new(AnyFields::None);
    let mut fields = Fields { tools: None, messages: Vec::new() };
    let (mut max_tokens, mut max_completion_tokens) = (None, None);
    let mut known = Known::open(
        scanner,
        &[
            "model",
            "messages",
            "tools",
            "cache_salt",
            "stream",
            "stream_options",
            "max_tokens",
            "max_completion_tokens",
        ],
    )?;
    while let Some(name) = known.next(scanner)? {
        match name {
            "messages" => fields.messages = messages(scanner, message)?,
            "tools" => fields.tools = scanner.present()?,
            "stream_options" => request.has_usage_in_stream = includes_usage(scanner)?,
            "max_tokens" => max_tokens = scanner.raw()?.parsed(),
            "max_completion_tokens" => max_completion_tokens = scanner.raw()?.parsed(),
            _ => request.read(name, scanner)?,
        }
    }
    request.output_tokens_max = max_completion_tokens.or(max_tokens);
    request.fields = AnyFields::Chat(fields);
    Ok(request)
}

/// Parses any JSON object for its `model` alone.
pub(super) fn parse_model_only<'a>(scanner: &mut Scanner<'a>) -> Result<Request<'a>, JsonError> {
    let mut request = Request::new(AnyFields::None);
    let mut known = Known::open(scanner, &["model"])?;
    while let Some(name) = known.next(scanner)? {
        request.read(name, scanner)?;
    }
    Ok(request)
}

/// A list of messages; none for `null`.
pub(super) fn messages<'a, T>(
    scanner: &mut Scanner<'a>,
    read: impl Fn(&mut Scanner<'a>) -> Result<T, JsonError>,
) -> Result<Vec<T>, JsonError> {
    if scanner.peek()? == b'n' {
        return scanner.pass().map(|()| Vec::new());
    }
    list(scanner, PROMPT_ITEMS_MAX, read).map(|(messages, _)| messages)
}

/// Whether OpenAI's `stream_options` ask for the usage. What has an odd shape does not.
pub(super) fn includes_usage(scanner: &mut Scanner<'_>) -> Result<bool, JsonError> {
    let (includes, _) = scanner.read_or_raw(|scanner| {
        let mut includes = None;
        let mut known = Known::open(scanner, &["include_usage"])?;
        while known.next(scanner)?.is_some() {
            includes = match scanner.present()? {
                Some(raw) => Some(raw.parsed().ok_or(JsonError::Shape)?),
                None => None,
            };
        }
        Ok(includes)
    })?;
    Ok(includes.flatten().unwrap_or(false))
}

fn message<'a>(scanner: &mut Scanner<'a>) -> Result<Message<'a>, JsonError> {
    let mut message = Message::default();
    let mut known = Known::open(scanner, &["role", "content", "tool_calls", "tool_call_id"])?;
    while let Some(name) = known.next(scanner)? {
        match name {
            "role" => message.role = scanner.string()?,
            "content" => message.content = scanner.present()?,
            "tool_calls" => message.tool_calls = scanner.present()?,
            _ => message.tool_call_id = scanner.string()?,
        }
    }
    Ok(message)
}

fn part<'a>(scanner: &mut Scanner<'a>) -> Result<Part<'a>, JsonError> {
    let (mut kind, mut text) = Part::default();
    let mut known = Known::open(scanner, &["type", "text"])?;
    while let Some(name) = known.next(scanner)? {
        match name {
            "type" => kind = scanner.string()?,
            _ => text = scanner.present()?,
        }
    }
    Ok((kind, text))
}

/// Sends the canonical text.
pub(super) fn text(fields: &Fields<'_>, sink: &mut impl TextSink) {
    if !text::tools(fields.tools, sink) {
        return;
    }
    for message in &fields.messages {
        if !message_text(message, sink) {
            return;
        }
    }
}

fn message_text(message: &Message<'_>, sink: &mut impl TextSink) -> bool {
    text::open_message(message.role.as_deref().unwrap_or_default(), sink)
        && message.tool_call_id.as_deref().is_none_or(|id| text::marked("call", id.as_bytes(), sink))
        && message.content.is_none_or(|content| content_text(content, sink))
        && message.tool_calls.is_none_or(|calls| text::marked("calls", calls.bytes(), sink))
        && text::close_message(sink)
}

/// A message's content: a string, or a list of parts.
pub(super) fn content_text(content: Raw<'_>, sink: &mut impl TextSink) -> bool {
    text::string_or_items(content, sink, part, |part, raw, sink| match part {
        Some((kind, text)) => match (kind.as_deref(), text) {
            (Some("text" | "input_text" | "output_text" | "refusal") | None, Some(value)) => {
                text::string_or_raw(value, sink)
            }
            (kind, _) => text::opaque(kind.unwrap_or("part"), raw.bytes(), sink),
        },
        None => text::opaque("part", raw.bytes(), sink),
    })
}
