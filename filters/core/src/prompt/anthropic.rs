//! `/v1/messages`: Anthropic's format, which vLLM and SGLang serve too.
//!
//! Fields: <https://docs.anthropic.com/en/api/messages>. Clients move `cache_control` marks from turn to
//! turn, so only what reaches the prompt is taken from a block.

use super::list::{List, lenient};
use super::{Fields as AnyFields, Request, TextSink, text};
use crate::limits::PROMPT_ITEMS_MAX;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What of the body makes its prompt.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    tools: Option<&'a RawValue>,
    system: Option<&'a RawValue>,
    messages: List<Message<'a>, PROMPT_ITEMS_MAX>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    model: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    tools: Option<&'a RawValue>,
    #[serde(borrow, default)]
    system: Option<&'a RawValue>,
    #[serde(borrow, default)]
    messages: Option<List<Message<'a>, PROMPT_ITEMS_MAX>>,
    #[serde(borrow, default)]
    cache_salt: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "lenient")]
    stream: Option<bool>,
    #[serde(default, deserialize_with = "lenient")]
    max_tokens: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    role: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_use_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    thinking: Option<&'a RawValue>,
    #[serde(borrow, default)]
    source: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    description: Option<&'a RawValue>,
    #[serde(borrow, default)]
    input_schema: Option<&'a RawValue>,
}

/// Parses a messages body.
pub(super) fn parse(body: &[u8]) -> Result<Request<'_>, serde_json::Error> {
    let body: Body<'_> = serde_json::from_slice(body)?;
    Ok(Request {
        model: body.model.unwrap_or_default(),
        cache_salt: body.cache_salt,
        is_stream: body.stream.unwrap_or(false),
        // `message_start` and `message_delta` always carry it.
        has_usage_in_stream: true,
        output_tokens_max: body.max_tokens,
        fields: AnyFields::Anthropic(Fields {
            tools: body.tools,
            system: body.system,
            messages: body.messages.unwrap_or_default(),
        }),
    })
}

/// Sends the canonical text.
pub(super) fn text(fields: &Fields<'_>, sink: &mut impl TextSink) {
    let opens = text::present(fields.tools).is_none_or(|tools| tools_text(tools, sink))
        && text::present(fields.system).is_none_or(|system| {
            text::open_message("system", sink) && content_text(system, sink) && text::close_message(sink)
        });
    if !opens {
        return;
    }
    for message in &fields.messages.items {
        let goes_on = text::open_message(message.role.as_deref().unwrap_or_default(), sink)
            && text::present(message.content).is_none_or(|content| content_text(content, sink))
            && text::close_message(sink);
        if !goes_on {
            return;
        }
    }
}

/// The tools without their marks of caching.
fn tools_text(tools: &RawValue, sink: &mut impl TextSink) -> bool {
    let Some(items) = text::items(tools) else { return text::tools(Some(tools), sink) };
    text::marked("tools", b"", sink)
        && items.iter().all(|raw| match serde_json::from_str::<Tool<'_>>(raw.get()) {
            Ok(tool) => {
                let fields = [tool.kind, tool.name, tool.description, tool.input_schema];
                text::marked("tool", b"", sink) && fields.into_iter().all(|value| field(value, sink))
            }
            Err(_) => text::marked("tool", raw.get().as_bytes(), sink),
        })
}

/// A string, or a list of blocks.
fn content_text(content: &RawValue, sink: &mut impl TextSink) -> bool {
    text::string_or_items(content, sink, block_text)
}

/// One block. A tool's result holds blocks again, but no result in a result: that depth is taken raw.
fn block_text(raw: &RawValue, sink: &mut impl TextSink) -> bool {
    let Ok(block) = serde_json::from_str::<Block<'_>>(raw.get()) else {
        return text::opaque("block", raw.get().as_bytes(), sink);
    };
    match block.kind.as_deref().unwrap_or("text") {
        "text" => field(block.text, sink),
        "thinking" => text::marked("thinking", b"", sink) && field(block.thinking, sink),
        kind @ ("tool_use" | "server_tool_use" | "mcp_tool_use") => {
            text::marked(kind, b"", sink)
                && field(block.id, sink)
                && field(block.name, sink)
                && field(block.input, sink)
        }
        "tool_result" => {
            text::marked("tool_result", b"", sink)
                && field(block.tool_use_id, sink)
                && text::present(block.content).is_none_or(|content| result_text(content, sink))
        }
        kind => {
            let body = block.source.or(block.content).or(block.data).unwrap_or(raw);
            text::opaque(kind, body.get().as_bytes(), sink)
        }
    }
}

fn field(value: Option<&RawValue>, sink: &mut impl TextSink) -> bool {
    text::present(value).is_none_or(|value| text::string_or_raw(value, sink))
}

fn result_text(content: &RawValue, sink: &mut impl TextSink) -> bool {
    text::string_or_items(content, sink, |raw, sink| match serde_json::from_str::<Block<'_>>(raw.get()) {
        Ok(Block { text: Some(value), .. }) => text::string_or_raw(value, sink),
        Ok(Block { kind, source: Some(source), .. }) => {
            text::opaque(kind.as_deref().unwrap_or("block"), source.get().as_bytes(), sink)
        }
        _ => text::opaque("block", raw.get().as_bytes(), sink),
    })
}
