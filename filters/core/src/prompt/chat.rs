//! `/v1/chat/completions`: OpenAI's chat, as vLLM, SGLang and TensorRT-LLM serve it.
//!
//! Fields: <https://platform.openai.com/docs/api-reference/chat/create>; `cache_salt` is vLLM's.

use super::list::{List, lenient};
use super::{Fields as AnyFields, Request, TextSink, text};
use crate::limits::PROMPT_ITEMS_MAX;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::str::FromStr;

/// What of the body makes its prompt.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    tools: Option<&'a RawValue>,
    messages: List<Message<'a>, PROMPT_ITEMS_MAX>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    model: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    messages: Option<List<Message<'a>, PROMPT_ITEMS_MAX>>,
    #[serde(borrow, default)]
    tools: Option<&'a RawValue>,
    #[serde(borrow, default)]
    cache_salt: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "lenient")]
    stream: Option<bool>,
    #[serde(default, deserialize_with = "lenient")]
    stream_options: Option<StreamOptions>,
    #[serde(default, deserialize_with = "lenient")]
    max_tokens: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    max_completion_tokens: Option<u64>,
}

/// OpenAI's `stream_options`.
#[derive(Clone, Copy, Default, Deserialize)]
pub(super) struct StreamOptions {
    #[serde(default)]
    pub(super) include_usage: Option<bool>,
}

impl FromStr for StreamOptions {
    type Err = serde_json::Error;

    fn from_str(json: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(json)
    }
}

#[derive(Debug, Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    role: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_calls: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_call_id: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ModelOnly<'a> {
    #[serde(borrow, default)]
    model: Option<Cow<'a, str>>,
}

/// Parses a chat body.
pub(super) fn parse(body: &[u8]) -> Result<Request<'_>, serde_json::Error> {
    let body: Body<'_> = serde_json::from_slice(body)?;
    Ok(Request {
        model: body.model.unwrap_or_default(),
        cache_salt: body.cache_salt,
        is_stream: body.stream.unwrap_or(false),
        has_usage_in_stream: body.stream_options.unwrap_or_default().include_usage.unwrap_or(false),
        output_tokens_max: body.max_completion_tokens.or(body.max_tokens),
        fields: AnyFields::Chat(Fields { tools: body.tools, messages: body.messages.unwrap_or_default() }),
    })
}

/// Parses any JSON object for its `model` alone.
pub(super) fn parse_model_only(body: &[u8]) -> Result<Request<'_>, serde_json::Error> {
    let body: ModelOnly<'_> = serde_json::from_slice(body)?;
    Ok(Request {
        model: body.model.unwrap_or_default(),
        cache_salt: None,
        is_stream: false,
        has_usage_in_stream: false,
        output_tokens_max: None,
        fields: AnyFields::None,
    })
}

/// Sends the canonical text.
pub(super) fn text(fields: &Fields<'_>, sink: &mut impl TextSink) {
    if !text::tools(fields.tools, sink) {
        return;
    }
    for message in &fields.messages.items {
        if !message_text(message, sink) {
            return;
        }
    }
}

fn message_text(message: &Message<'_>, sink: &mut impl TextSink) -> bool {
    text::open_message(message.role.as_deref().unwrap_or_default(), sink)
        && message.tool_call_id.as_deref().is_none_or(|id| text::marked("call", id.as_bytes(), sink))
        && text::present(message.content).is_none_or(|content| content_text(content, sink))
        && text::present(message.tool_calls)
            .is_none_or(|calls| text::marked("calls", calls.get().as_bytes(), sink))
        && text::close_message(sink)
}

/// A message's content: a string, or a list of parts.
pub(super) fn content_text(content: &RawValue, sink: &mut impl TextSink) -> bool {
    text::string_or_items(content, sink, part_text)
}

fn part_text(raw: &RawValue, sink: &mut impl TextSink) -> bool {
    let Ok(part) = serde_json::from_str::<Part<'_>>(raw.get()) else {
        return text::opaque("part", raw.get().as_bytes(), sink);
    };
    match (part.kind.as_deref(), part.text) {
        (Some("text" | "input_text" | "output_text" | "refusal") | None, Some(value)) => {
            text::string_or_raw(value, sink)
        }
        (kind, _) => text::opaque(kind.unwrap_or("part"), raw.get().as_bytes(), sink),
    }
}
