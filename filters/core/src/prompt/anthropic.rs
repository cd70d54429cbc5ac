//! `/v1/messages`: Anthropic's format, which vLLM and SGLang serve too.
//!
//! Fields: <https://docs.anthropic.com/en/api/messages>. Clients move `cache_control` markers from turn to turn, so
//! only the fields of a block that reach the prompt are read. The text that engines make of it is `warmpath-template`'s.

use super::omit::{AfterLine, Omitted};
use super::{Prompt, Request, TextSink, content, text};
use crate::json::{JsonError, KnownFields, Raw, Scanner};
use std::borrow::Cow;
use warmpath_template::MessagesBody;

/// The fields of the body that make up its prompt.
#[derive(Debug, Default)]
pub(super) struct MessagesPrompt<'a> {
    tools: Option<Raw<'a>>,
    system: Option<Raw<'a>>,
    messages: Vec<Message<'a>>,
    /// All messages as they are written.
    written: Option<Raw<'a>>,
    thinking: Option<Raw<'a>>,
    output_config: Option<Raw<'a>>,
    arguments: Option<Raw<'a>>,
}

/// A message's role and content.
type Message<'a> = (Option<Cow<'a, str>>, Option<Raw<'a>>);

#[derive(Default)]
struct Block<'a> {
    kind: Option<Cow<'a, str>>,
    text: Option<Raw<'a>>,
    id: Option<Raw<'a>>,
    name: Option<Raw<'a>>,
    input: Option<Raw<'a>>,
    tool_use_id: Option<Raw<'a>>,
    content: Option<Raw<'a>>,
    thinking: Option<Raw<'a>>,
    source: Option<Raw<'a>>,
    data: Option<Raw<'a>>,
}

/// A tool's type, name, description and schema.
type Tool<'a> = [Option<Raw<'a>>; 4];

/// Parses a messages body.
pub(super) fn parse<'a>(scanner: &mut Scanner<'a>) -> Result<Request<'a>, JsonError> {
    // `message_start` and `message_delta` of a stream always carry its usage.
    let mut request = Request { has_usage_in_stream: true, ..Request::new(Prompt::None) };
    let mut prompt = MessagesPrompt::default();
    let mut fields = KnownFields::open(
        scanner,
        &[
            "model",
            "tools",
            "system",
            "messages",
            "cache_salt",
            "stream",
            "max_tokens",
            "thinking",
            "output_config",
            "chat_template_kwargs",
        ],
    )?;
    while let Some(name) = fields.next(scanner)? {
        match name {
            "tools" => prompt.tools = scanner.present()?,
            "system" => prompt.system = scanner.present()?,
            "messages" => {
                let (messages, raw) = scanner.read_with_raw(|scanner| content::messages(scanner, message))?;
                (prompt.messages, prompt.written) = (messages, Some(raw));
            }
            "thinking" => prompt.thinking = scanner.present()?,
            "output_config" => prompt.output_config = scanner.present()?,
            "chat_template_kwargs" => prompt.arguments = scanner.present()?,
            "max_tokens" => request.output_tokens_max = scanner.raw()?.parsed(),
            _ => request.read(name, scanner)?,
        }
    }
    request.prompt = Prompt::Messages(prompt);
    Ok(request)
}

fn message<'a>(scanner: &mut Scanner<'a>) -> Result<Message<'a>, JsonError> {
    let (mut role, mut content) = Message::default();
    let mut fields = KnownFields::open(scanner, &["role", "content"])?;
    while let Some(name) = fields.next(scanner)? {
        match name {
            "role" => role = scanner.string()?,
            _ => content = scanner.present()?,
        }
    }
    Ok((role, content))
}

fn block<'a>(scanner: &mut Scanner<'a>) -> Result<Block<'a>, JsonError> {
    let mut block = Block::default();
    let mut fields = KnownFields::open(
        scanner,
        &["type", "text", "id", "name", "input", "tool_use_id", "content", "thinking", "source", "data"],
    )?;
    while let Some(name) = fields.next(scanner)? {
        let target = match name {
            "type" => {
                block.kind = scanner.string()?;
                continue;
            }
            "text" => &mut block.text,
            "id" => &mut block.id,
            "name" => &mut block.name,
            "input" => &mut block.input,
            "tool_use_id" => &mut block.tool_use_id,
            "content" => &mut block.content,
            "thinking" => &mut block.thinking,
            "source" => &mut block.source,
            _ => &mut block.data,
        };
        *target = scanner.present()?;
    }
    Ok(block)
}

fn tool<'a>(scanner: &mut Scanner<'a>) -> Result<Tool<'a>, JsonError> {
    let mut tool = Tool::default();
    let [kind, name, description, schema] = &mut tool;
    let mut fields = KnownFields::open(scanner, &["type", "name", "description", "input_schema"])?;
    while let Some(field) = fields.next(scanner)? {
        let target = match field {
            "type" => &mut *kind,
            "name" => &mut *name,
            "description" => &mut *description,
            _ => &mut *schema,
        };
        *target = scanner.present()?;
    }
    Ok(tool)
}

/// What of it engines write as a chat.
pub(super) fn body<'a>(prompt: &MessagesPrompt<'a>) -> MessagesBody<'a> {
    MessagesBody {
        messages: prompt.written.map(Raw::bytes).unwrap_or_default(),
        system: prompt.system,
        tools: prompt.tools,
        thinking: prompt.thinking,
        output_config: prompt.output_config,
        arguments: prompt.arguments,
    }
}

/// Sends the canonical text.
pub(super) fn text(prompt: &MessagesPrompt<'_>, omitted: Omitted<'_>, sink: &mut impl TextSink) {
    let wants_more = prompt.tools.is_none_or(|tools| tools_text(tools, sink))
        && prompt.system.is_none_or(|system| {
            text::open_message("system", sink)
                && system_text(system, omitted, sink)
                && text::close_message(sink)
        });
    if !wants_more {
        return;
    }
    for (role, content) in &prompt.messages {
        let role = role.as_deref().unwrap_or_default();
        let wants_more = text::open_message(role, sink)
            && content.is_none_or(|content| match role {
                "system" => system_text(content, omitted, sink),
                _ => content_text(content, sink),
            })
            && text::close_message(sink);
        if !wants_more {
            return;
        }
    }
}

/// The tools without their `cache_control` markers.
fn tools_text(tools: Raw<'_>, sink: &mut impl TextSink) -> bool {
    if !tools.is_list() {
        return text::tools(Some(tools), sink);
    }
    text::marked("tools", b"", sink)
        && text::string_or_items(tools, sink, tool, |tool, raw, sink| match tool {
            Some(values) => {
                text::marked("tool", b"", sink) && values.into_iter().all(|value| field(value, sink))
            }
            None => text::marked_json("tool", raw, sink),
        })
}

/// A string, or a list of blocks.
fn content_text(content: Raw<'_>, sink: &mut impl TextSink) -> bool {
    text::string_or_items(content, sink, block, block_text)
}

/// The same of a system prompt, without what engines cut out.
fn system_text(content: Raw<'_>, omitted: Omitted<'_>, sink: &mut impl TextSink) -> bool {
    if omitted.matches(content) {
        return text::string_or_raw(content, &mut AfterLine::new(sink));
    }
    text::string_or_items(content, sink, block, |block, raw, sink| {
        let text = block.as_ref().and_then(|block| block.text);
        text.is_some_and(|text| omitted.matches(text)) || block_text(block, raw, sink)
    })
}

/// One block. The content of a `tool_result` is a list of blocks; results do not nest, so a result inside a result
/// is hashed as it is written.
fn block_text(block: Option<Block<'_>>, raw: Raw<'_>, sink: &mut impl TextSink) -> bool {
    let Some(block) = block else { return text::opaque("block", raw, sink) };
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
                && block.content.is_none_or(|content| result_text(content, sink))
        }
        kind => {
            let body = block.source.or(block.content).or(block.data).unwrap_or(raw);
            text::opaque(kind, body, sink)
        }
    }
}

fn field(value: Option<Raw<'_>>, sink: &mut impl TextSink) -> bool {
    value.is_none_or(|value| text::string_or_raw(value, sink))
}

fn result_text(content: Raw<'_>, sink: &mut impl TextSink) -> bool {
    text::string_or_items(content, sink, block, |block, raw, sink| match block {
        Some(Block { text: Some(value), .. }) => text::string_or_raw(value, sink),
        Some(Block { kind, source: Some(source), .. }) => {
            text::opaque(kind.as_deref().unwrap_or("block"), source, sink)
        }
        _ => text::opaque("block", raw, sink),
    })
}
