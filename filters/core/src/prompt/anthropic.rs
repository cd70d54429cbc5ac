//! `/v1/messages`: Anthropic's format, which vLLM and SGLang serve too.
//!
//! Fields: <https://docs.anthropic.com/en/api/messages>. Clients move `cache_control` marks from turn to
//! turn, so only what reaches the prompt is taken from a block.

use super::{Fields as AnyFields, Request, TextSink, json, text};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What of the body makes its prompt.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    tools: Option<&'a RawValue>,
    system: Option<&'a RawValue>,
    messages: Vec<Message<'a>>,
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
    messages: Option<Vec<Message<'a>>>,
    #[serde(borrow, default)]
    cache_salt: Option<Cow<'a, str>>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
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
    let opens = text::tools(fields.tools, sink)
        && text::present(fields.system).is_none_or(|system| {
            text::open_message("system", sink) && content_text(system, sink) && text::close_message(sink)
        });
    if !opens {
        return;
    }
    for message in &fields.messages {
        let goes_on = text::open_message(message.role.as_deref().unwrap_or_default(), sink)
            && text::present(message.content).is_none_or(|content| content_text(content, sink))
            && text::close_message(sink);
        if !goes_on {
            return;
        }
    }
}

/// A string, or a list of blocks.
fn content_text(content: &RawValue, sink: &mut impl TextSink) -> bool {
    if let Some(body) = json::string_body(content) {
        return json::unescape(body, &mut |piece| sink.push(piece));
    }
    match serde_json::from_str::<Vec<&RawValue>>(content.get()) {
        Ok(blocks) => blocks.iter().all(|block| block_text(block, sink)),
        Err(_) => sink.push(content.get().as_bytes()),
    }
}

/// One block. A tool's result holds blocks again, but no result in a result: that depth is taken raw.
fn block_text(raw: &RawValue, sink: &mut impl TextSink) -> bool {
    let Ok(block) = serde_json::from_str::<Block<'_>>(raw.get()) else {
        return text::opaque("block", raw.get().as_bytes(), sink);
    };
    let field = |value: Option<&RawValue>, sink: &mut _| {
        text::present(value).is_none_or(|value| text::string_or_raw(value, sink))
    };
    match block.kind.as_deref().unwrap_or("text") {
        "text" => field(block.text, sink),
        "thinking" => text::marked("thinking", b"", sink) && field(block.thinking, sink),
        "tool_use" => {
            text::marked("tool_use", b"", sink)
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
            let body = block.source.or(block.content).unwrap_or(raw);
            text::opaque(kind, body.get().as_bytes(), sink)
        }
    }
}

fn result_text(content: &RawValue, sink: &mut impl TextSink) -> bool {
    if let Some(body) = json::string_body(content) {
        return json::unescape(body, &mut |piece| sink.push(piece));
    }
    let Ok(blocks) = serde_json::from_str::<Vec<&RawValue>>(content.get()) else {
        return sink.push(content.get().as_bytes());
    };
    blocks.iter().all(|raw| match serde_json::from_str::<Block<'_>>(raw.get()) {
        Ok(Block { text: Some(value), .. }) => text::string_or_raw(value, sink),
        Ok(Block { kind, source: Some(source), .. }) => {
            text::opaque(kind.as_deref().unwrap_or("block"), source.get().as_bytes(), sink)
        }
        _ => text::opaque("block", raw.get().as_bytes(), sink),
    })
}
