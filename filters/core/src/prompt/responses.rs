//! `/v1/responses`: OpenAI's newer format: instructions, then a string or a list of items.
//!
//! Fields: <https://platform.openai.com/docs/api-reference/responses/create>. A `previous_response_id`
//! names a conversation that only the engine knows, so requests match by that id.

use super::{
    Prompt, Request, TextSink,
    content::{content_text, parts_text},
    text,
};
use crate::json::{JsonError, KnownFields, Raw, Scanner};
use std::borrow::Cow;
use warmpath_template::ResponsesBody;

/// The fields of the body that make up its prompt.
#[derive(Debug, Default)]
pub(super) struct ResponsesPrompt<'a> {
    tools: Option<Raw<'a>>,
    instructions: Option<Raw<'a>>,
    pub(super) previous: Option<Cow<'a, str>>,
    input: Option<Raw<'a>>,
    reasoning: Option<Raw<'a>>,
    arguments: Option<Raw<'a>>,
    /// It brings messages in a format of its own, or has its prompt cut.
    pub(super) is_special: bool,
}

#[derive(Default)]
struct Item<'a> {
    kind: Option<Cow<'a, str>>,
    role: Option<Cow<'a, str>>,
    content: Option<Raw<'a>>,
    call_id: Option<Raw<'a>>,
    output: Option<Raw<'a>>,
}

/// Parses a responses body.
pub(super) fn parse<'a>(scanner: &mut Scanner<'a>) -> Result<Request<'a>, JsonError> {
    // The closing event of a stream always carries its usage.
    let mut request = Request { has_usage_in_stream: true, ..Request::new(Prompt::None) };
    let mut prompt = ResponsesPrompt::default();
    let mut fields = KnownFields::open(
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
            "reasoning",
            "chat_template_kwargs",
            "prompt",
            "previous_input_messages",
            "truncation",
        ],
    )?;
    while let Some(name) = fields.next(scanner)? {
        match name {
            "tools" => prompt.tools = scanner.present()?,
            "instructions" => prompt.instructions = scanner.present()?,
            "previous_response_id" => prompt.previous = scanner.string()?,
            "input" => prompt.input = scanner.present()?,
            "max_output_tokens" => request.output_tokens_max = scanner.raw()?.parsed(),
            "reasoning" => prompt.reasoning = scanner.present()?,
            "chat_template_kwargs" => prompt.arguments = scanner.present()?,
            "prompt" | "previous_input_messages" => prompt.is_special |= scanner.present()?.is_some(),
            "truncation" => {
                let truncation = scanner.present()?;
                prompt.is_special |= truncation.is_some_and(|value| value.string_body() != Some(b"disabled"));
            }
            _ => request.read(name, scanner)?,
        }
    }
    request.prompt = Prompt::Responses(prompt);
    Ok(request)
}

/// What of it engines write as a chat.
pub(super) fn body<'a>(prompt: &ResponsesPrompt<'a>) -> ResponsesBody<'a> {
    ResponsesBody {
        instructions: prompt.instructions,
        input: prompt.input,
        tools: prompt.tools,
        reasoning: prompt.reasoning,
        arguments: prompt.arguments,
    }
}

/// Sends the canonical text.
pub(super) fn text(prompt: &ResponsesPrompt<'_>, sink: &mut impl TextSink) {
    let _ = text::tools(prompt.tools, sink)
        && prompt.instructions.is_none_or(|system| {
            text::open_message("system", sink)
                && text::string_or_raw(system, sink)
                && text::close_message(sink)
        })
        && prompt.previous.as_deref().is_none_or(|id| text::marked("previous", id.as_bytes(), sink))
        && prompt.input.is_none_or(|input| input_text(input, sink));
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
    let mut fields = KnownFields::open(scanner, &["type", "role", "content", "call_id", "output"])?;
    while let Some(name) = fields.next(scanner)? {
        match name {
            "type" => item.kind = scanner.string()?,
            "role" => item.role = scanner.string()?,
            "content" => item.content = scanner.present()?,
            "call_id" => item.call_id = scanner.present()?,
            _ => item.output = scanner.present()?,
        }
    }
    Ok(item)
}

fn item_text(item: Option<Item<'_>>, raw: Raw<'_>, sink: &mut impl TextSink) -> bool {
    let Some(item) = item else { return text::opaque("item", raw, sink) };
    match (item.kind.as_deref(), item.content.or(item.output)) {
        (Some("message") | None, Some(content)) => {
            text::open_message(item.role.as_deref().unwrap_or_default(), sink)
                && content_text(content, sink)
                && text::close_message(sink)
        }
        // The output of a call: text, the parts of a message's content, or a screenshot.
        (Some(kind), Some(output)) if kind.ends_with("_output") => {
            text::marked(kind, b"", sink)
                && item.call_id.is_none_or(|id| text::string_or_raw(id, sink))
                && parts_text(output, sink)
                && text::close_message(sink)
        }
        // A part that is an item of its own, and an image that the model made.
        (Some(kind @ ("input_image" | "input_file" | "input_audio" | "image_generation_call")), _) => {
            text::opaque(kind, raw, sink) && text::close_message(sink)
        }
        // A call or a reasoning item: its JSON serves as well as the template's rendering.
        (kind, _) => text::marked_json(kind.unwrap_or("item"), raw, sink) && text::close_message(sink),
    }
}
