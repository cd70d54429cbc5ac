//! `/v1/responses`: OpenAI's newer format: instructions, then a string or a list of items.
//!
//! Fields: <https://platform.openai.com/docs/api-reference/responses/create>. A `previous_response_id` stands
//! for a conversation that only the engine knows: it is matched by its name.

use super::list::lenient;
use super::{Fields as AnyFields, Request, TextSink, chat::content_text, json, text};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What of the body makes its prompt.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    tools: Option<&'a RawValue>,
    instructions: Option<&'a RawValue>,
    previous: Option<Cow<'a, str>>,
    input: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    model: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    tools: Option<&'a RawValue>,
    #[serde(borrow, default)]
    instructions: Option<&'a RawValue>,
    #[serde(borrow, default)]
    previous_response_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
    #[serde(borrow, default)]
    cache_salt: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "lenient")]
    stream: Option<bool>,
    #[serde(default, deserialize_with = "lenient")]
    max_output_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    role: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

/// Parses a responses body.
pub(super) fn parse(body: &[u8]) -> Result<Request<'_>, serde_json::Error> {
    let body: Body<'_> = serde_json::from_slice(body)?;
    Ok(Request {
        model: body.model.unwrap_or_default(),
        cache_salt: body.cache_salt,
        is_stream: body.stream.unwrap_or(false),
        // The closing event always carries it.
        has_usage_in_stream: true,
        output_tokens_max: body.max_output_tokens,
        fields: AnyFields::Responses(Fields {
            tools: body.tools,
            instructions: body.instructions,
            previous: body.previous_response_id,
            input: body.input,
        }),
    })
}

/// Sends the canonical text.
pub(super) fn text(fields: &Fields<'_>, sink: &mut impl TextSink) {
    let _ = text::tools(fields.tools, sink)
        && text::present(fields.instructions).is_none_or(|system| {
            text::open_message("system", sink)
                && text::string_or_raw(system, sink)
                && text::close_message(sink)
        })
        && fields.previous.as_deref().is_none_or(|id| text::marked("previous", id.as_bytes(), sink))
        && text::present(fields.input).is_none_or(|input| input_text(input, sink));
}

fn input_text(input: &RawValue, sink: &mut impl TextSink) -> bool {
    if json::string_body(input).is_some() {
        return text::open_message("user", sink)
            && text::string_or_raw(input, sink)
            && text::close_message(sink);
    }
    text::string_or_items(input, sink, item_text)
}

fn item_text(raw: &RawValue, sink: &mut impl TextSink) -> bool {
    let Ok(item) = serde_json::from_str::<Item<'_>>(raw.get()) else {
        return text::opaque("item", raw.get().as_bytes(), sink);
    };
    match (item.kind.as_deref(), item.content) {
        (Some("message") | None, Some(content)) => {
            text::open_message(item.role.as_deref().unwrap_or_default(), sink)
                && content_text(content, sink)
                && text::close_message(sink)
        }
        // A call, its output or a thought: its JSON is as good as the template's rendering of it.
        (kind, _) => {
            text::marked(kind.unwrap_or("item"), raw.get().as_bytes(), sink) && text::close_message(sink)
        }
    }
}
