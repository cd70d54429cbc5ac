//! `/v1/responses`: OpenAI's newer format: instructions, then a string or a list of items.
//!
//! Fields: <https://platform.openai.com/docs/api-reference/responses/create>. A `previous_response_id` stands
//! for a conversation that only the engine knows: it is matched by its name.

use super::{Fields as AnyFields, Request, TextSink, chat::content_text, text};
use crate::json::{Fields as Known, JsonError, Raw, Scanner};
use std::borrow::Cow;

/// What of the body makes its prompt.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    tools: Option<Raw<'a>>,
    instructions: Option<Raw<'a>>,
    previous: Option<Cow<'a, str>>,
    input: Option<Raw<'a>>,
}

#[derive(Default)]
struct Item<'a> {
    kind: Option<Cow<'a, str>>,
    role: Option<Cow<'a, str>>,
    content: Option<Raw<'a>>,
}

/// Parses a responses body.
pub(super) fn parse<'a>(scanner: &mut Scanner<'a>) -> Result<Request<'a>, JsonError> {
    // The closing event of a stream always carries its usage.
    let mut request = Request { has_usage_in_stream: true, ..Request::new(AnyFields::None) };
    let mut fields = Fields::default();
    let mut known = Known::open(
        scanner,
        &[
            "model",
            "tools",
            "instructions",
            "previous_response_id",
            "input",
            "cache_salt",
            "stream",
            "max_output_tokens",
        ],
    )?;
    while let Some(name) = known.next(scanner)? {
        match name {
            "tools" => fields.tools = scanner.present()?,
            "instructions" => fields.instructions = scanner.present()?,
            "previous_response_id" => fields.previous = scanner.string()?,
            "input" => fields.input = scanner.present()?,
            "max_output_tokens" => request.output_tokens_max = scanner.raw()?.parsed(),
            _ => request.read(name, scanner)?,
        }
    }
    request.fields = AnyFields::Responses(fields);
    Ok(request)
}

/// Sends the canonical text.
pub(super) fn text(fields: &Fields<'_>, sink: &mut impl TextSink) {
    let _ = text::tools(fields.tools, sink)
        && fields.instructions.is_none_or(|system| {
            text::open_message("system", sink)
                && text::string_or_raw(system, sink)
                && text::close_message(sink)
        })
        && fields.previous.as_deref().is_none_or(|id| text::marked("previous", id.as_bytes(), sink))
        && fields.input.is_none_or(|input| input_text(input, sink));
}

fn input_text(input: Raw<'_>, sink: &mut impl TextSink) -> bool {
    if input.string_body().is_some() {
        return text::open_message("user", sink)
            && text::string_or_raw(input, sink)
            && text::close_message(sink);
    }
    text::string_or_items(input, sink, item, item_text)
}

fn item<'a>(scanner: &mut Scanner<'a>) -> Result<Item<'a>, JsonError> {
    let mut item = Item::default();
    let mut known = Known::open(scanner, &["type", "role", "content"])?;
    while let Some(name) = known.next(scanner)? {
        match name {
            "type" => item.kind = scanner.string()?,
            "role" => item.role = scanner.string()?,
            _ => item.content = scanner.present()?,
        }
    }
    Ok(item)
}

fn item_text(item: Option<Item<'_>>, raw: Raw<'_>, sink: &mut impl TextSink) -> bool {
    let Some(item) = item else { return text::opaque("item", raw.bytes(), sink) };
    match (item.kind.as_deref(), item.content) {
        (Some("message") | None, Some(content)) => {
            text::open_message(item.role.as_deref().unwrap_or_default(), sink)
                && content_text(content, sink)
                && text::close_message(sink)
        }
        // A call, its output or a thought: its JSON is as good as the template's rendering of it.
        (kind, _) => text::marked(kind.unwrap_or("item"), raw.bytes(), sink) && text::close_message(sink),
    }
}
