//! `/v1/chat/completions`: OpenAI's chat, as vLLM, SGLang and TensorRT-LLM serve it.
//!
//! Fields: <https://platform.openai.com/docs/api-reference/chat/create>; `cache_salt` is vLLM's.

use super::content::{content_text, includes_usage, messages, system_text};
use super::omit::Omitted;
use super::{Prompt, Request, TextSink, text};
use crate::json::{JsonError, KnownFields, Raw, Scanner};
use std::borrow::Cow;

/// The fields of the body that make up its prompt.
#[derive(Debug)]
pub(super) struct ChatPrompt<'a> {
    pub(super) tools: Option<Raw<'a>>,
    pub(super) messages: Vec<Message<'a>>,
    pub(super) template: TemplateFields<'a>,
}

/// What of a body only the engine's chat template reads.
#[derive(Debug, Default)]
pub(super) struct TemplateFields<'a> {
    /// All messages as they are written.
    pub(super) messages: Option<Raw<'a>>,
    pub(super) documents: Option<Raw<'a>>,
    pub(super) arguments: Option<Raw<'a>>,
    pub(super) reasoning_effort: Option<Raw<'a>>,
    pub(super) generation_prompt: Option<Raw<'a>>,
    pub(super) continued: Option<Raw<'a>>,
    pub(super) special_tokens: Option<Raw<'a>>,
    /// It brings its own template, or has its prompt cut.
    pub(super) is_special: bool,
}

#[derive(Debug, Default)]
pub(super) struct Message<'a> {
    role: Option<Cow<'a, str>>,
    reasoning: Option<Raw<'a>>,
    content: Option<Raw<'a>>,
    tool_calls: Option<Raw<'a>>,
    tool_call_id: Option<Cow<'a, str>>,
}

/// Parses a chat body.
pub(super) fn parse<'a>(scanner: &mut Scanner<'a>) -> Result<Request<'a>, JsonError> {
    let mut request = Request::new(Prompt::None);
    let mut prompt = ChatPrompt { tools: None, messages: Vec::new(), template: TemplateFields::default() };
    let (mut max_tokens, mut max_completion_tokens) = (None, None);
    let mut fields = KnownFields::open(
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
            "documents",
            "chat_template_kwargs",
            "reasoning_effort",
            "add_generation_prompt",
            "continue_final_message",
            "add_special_tokens",
            "chat_template",
            "truncate_prompt_tokens",
        ],
    )?;
    while let Some(name) = fields.next(scanner)? {
        match name {
            "messages" => {
                let (messages, raw) = scanner.read_with_raw(|scanner| messages(scanner, message))?;
                (prompt.messages, prompt.template.messages) = (messages, Some(raw));
            }
            "tools" => prompt.tools = scanner.present()?,
            "stream_options" => request.has_usage_in_stream = includes_usage(scanner)?,
            "max_tokens" => max_tokens = scanner.raw()?.parsed(),
            "max_completion_tokens" => max_completion_tokens = scanner.raw()?.parsed(),
            "documents" => prompt.template.documents = scanner.present()?,
            "chat_template_kwargs" => prompt.template.arguments = scanner.present()?,
            "reasoning_effort" => prompt.template.reasoning_effort = scanner.present()?,
            "add_generation_prompt" => prompt.template.generation_prompt = scanner.present()?,
            "continue_final_message" => prompt.template.continued = scanner.present()?,
            "add_special_tokens" => prompt.template.special_tokens = scanner.present()?,
            "chat_template" | "truncate_prompt_tokens" => {
                prompt.template.is_special |= scanner.present()?.is_some();
            }
            _ => request.read(name, scanner)?,
        }
    }
    request.output_tokens_max = max_completion_tokens.or(max_tokens);
    request.prompt = Prompt::Chat(prompt);
    Ok(request)
}

/// Reads one message.
pub(super) fn message<'a>(scanner: &mut Scanner<'a>) -> Result<Message<'a>, JsonError> {
    let mut message = Message::default();
    let mut fields = KnownFields::open(
        scanner,
        &["role", "reasoning", "reasoning_content", "content", "tool_calls", "function_call", "tool_call_id"],
    )?;
    while let Some(name) = fields.next(scanner)? {
        match name {
            "role" => message.role = scanner.string()?,
            "content" => message.content = scanner.present()?,
            // Two names of the same, of which clients send one, or both for engines of either kind.
            "reasoning" | "reasoning_content" => message.reasoning = scanner.present()?.or(message.reasoning),
            "tool_calls" | "function_call" => message.tool_calls = scanner.present()?.or(message.tool_calls),
            _ => message.tool_call_id = scanner.string()?,
        }
    }
    Ok(message)
}

/// Sends the canonical text.
pub(super) fn text(prompt: &ChatPrompt<'_>, omitted: Omitted<'_>, sink: &mut impl TextSink) {
    if !text::tools(prompt.tools, sink) {
        return;
    }
    for message in &prompt.messages {
        if !message_text(message, omitted, sink) {
            return;
        }
    }
}

fn message_text(message: &Message<'_>, omitted: Omitted<'_>, sink: &mut impl TextSink) -> bool {
    let role = message.role.as_deref().unwrap_or_default();
    text::open_message(role, sink)
        && message.tool_call_id.as_deref().is_none_or(|id| text::marked("call", id.as_bytes(), sink))
        && message.reasoning.is_none_or(|reasoning| {
            text::marked("thinking", b"", sink) && text::string_or_raw(reasoning, sink)
        })
        && message.content.is_none_or(|content| match role {
            "system" => system_text(content, omitted, sink),
            _ => content_text(content, sink),
        })
        && message.tool_calls.is_none_or(|calls| text::marked_json("calls", calls, sink))
        && text::close_message(sink)
}
