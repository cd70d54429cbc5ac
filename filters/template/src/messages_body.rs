//! `/v1/messages` as vLLM makes a chat of it: blocks of content become texts, reasoning, calls and results of their own.
//!
//! The rules are those of vLLM 0.32. What it rejects, or makes up (an id of a call that has none), has no text here.

use crate::messages::{
    Call, Message, effort_of, is_billing_header, list, object_or_empty, only_field, optional, required, text,
};
use crate::tools::{Function, Tool, tools_of};
use crate::{Chat, Given, Program, Unwritten};
use std::borrow::Cow;
use warmpath_json::{KnownFields, Raw, Scanner};

/// The fields of a body that reach its text, each as it is written, unless `null`.
#[derive(Clone, Copy, Debug, Default)]
pub struct MessagesBody<'a> {
    /// `messages`.
    pub messages: &'a [u8],
    /// `system`.
    pub system: Option<Raw<'a>>,
    /// `tools`.
    pub tools: Option<Raw<'a>>,
    /// `thinking`.
    pub thinking: Option<Raw<'a>>,
    /// `output_config`.
    pub output_config: Option<Raw<'a>>,
    /// `chat_template_kwargs`.
    pub arguments: Option<Raw<'a>>,
}

/// A block of content.
#[derive(Default)]
struct Block<'a> {
    kind: Cow<'a, str>,
    text: Option<Raw<'a>>,
    thinking: Option<Raw<'a>>,
    source: Option<Raw<'a>>,
    id: Option<Raw<'a>>,
    name: Option<Raw<'a>>,
    input: Option<Raw<'a>>,
    tool_use_id: Option<Raw<'a>>,
    tool_name: Option<Raw<'a>>,
    content: Option<Raw<'a>>,
}

/// A message's role and content.
type Turn<'a> = (Cow<'a, str>, Raw<'a>);

impl<'a> MessagesBody<'a> {
    /// The chat. `program` decides where system messages go, and what stands for thinking that is disabled.
    pub fn given(&self, program: &Program) -> Result<Given<'a>, Unwritten> {
        let mut scanner = Scanner::new(self.messages);
        let turns = list(&mut scanner, turn)?;
        scanner.end()?;
        let mut head = self.system.map(system_texts).transpose()?.unwrap_or_default();
        if program.merges_system {
            for (_, content) in turns.iter().filter(|(role, _)| role == "system") {
                head.extend(inline_system(*content)?);
            }
        }
        let mut messages = Vec::with_capacity(turns.len() + 1);
        messages.extend(system(head));
        for (role, content) in turns {
            match &*role {
                "system" if program.merges_system => {}
                "system" => messages.extend(inline_system(content)?.and_then(|text| system(vec![text]))),
                "user" | "assistant" => converse(role, content, &mut messages)?,
                _ => return Err(Unwritten::Malformed),
            }
        }
        if messages.is_empty() {
            return Err(Unwritten::Malformed);
        }
        Ok(Given {
            messages,
            tools: self.tools.map(|tools| tools_of(tools.bytes(), tool)).transpose()?.unwrap_or_default(),
            arguments: self.arguments.map(Raw::bytes),
            reasoning_effort: self.effort(program)?,
            ..Given::default()
        })
    }

    fn effort(&self, program: &Program) -> Result<Option<&'a [u8]>, Unwritten> {
        if let Some(thinking) = self.thinking {
            let kind = only_field(&mut thinking.scanner(), &["type"])?;
            match &*required(kind)? {
                "disabled" => return Ok(Some(program.disabled_effort())),
                "enabled" | "adaptive" => {}
                _ => return Err(Unwritten::Malformed),
            }
        }
        effort_of(self.output_config)
    }
}

impl Program {
    /// The effort that vLLM gives a template for thinking that is disabled: the lowest one, where it makes no difference to a
    /// chat that there is none.
    fn disabled_effort(&self) -> &'static [u8] {
        let (none, low) = (br#""none""#.as_slice(), br#""low""#.as_slice());
        let written = |effort| {
            let messages = br#"[{"role":"user","content":"Hi"}]"#;
            let chat = Chat { messages, reasoning_effort: Some(effort), ..Chat::default() };
            let mut text = Vec::new();
            let result = self.write(&chat, Some(0), &mut |piece| {
                text.extend_from_slice(piece);
                true
            });
            (result, text)
        };
        if written(none) == written(low) { low } else { none }
    }
}

fn turn<'a>(scanner: &mut Scanner<'a>) -> Result<Turn<'a>, Unwritten> {
    let (mut role, mut content) = (None, None);
    let mut fields = KnownFields::open(scanner, &["role", "content"])?;
    while let Some(field) = fields.next(scanner)? {
        let target = if field == "role" { &mut role } else { &mut content };
        *target = scanner.present()?;
    }
    Ok((required(role)?, content.ok_or(Unwritten::Malformed)?))
}

fn tool<'a>(scanner: &mut Scanner<'a>) -> Result<Tool<'a>, Unwritten> {
    let names = &["input_schema", "name", "description", "strict", "defer_loading"];
    let (mut found, schema) = Function::read(scanner, names)?;
    // Tools of the vendor's own have no schema, and engines do not know them.
    found.parameters = Some(with_type(schema.ok_or(Unwritten::Malformed)?)?);
    found.tool(None)
}

/// A schema says that it is an object's.
fn with_type(schema: Raw<'_>) -> Result<Cow<'_, [u8]>, Unwritten> {
    let mut scanner = schema.scanner();
    scanner.open_object()?;
    let mut is_empty = true;
    while let Some(name) = scanner.next_key()? {
        if name == "type" {
            return Ok(Cow::Borrowed(schema.bytes()));
        }
        scanner.skip()?;
        is_empty = false;
    }
    let fields = schema.bytes().strip_suffix(b"}").ok_or(Unwritten::Malformed)?;
    let comma = if is_empty { "" } else { "," };
    Ok(Cow::Owned([fields, comma.as_bytes(), br#""type":"object"}"#].concat()))
}

/// A system message of some texts, if they come to anything.
fn system(texts: Vec<Cow<'_, str>>) -> Option<Message<'_>> {
    joined(texts, "").map(Message::system)
}

/// `None` for no texts, and for empty ones.
fn joined<'a>(mut texts: Vec<Cow<'a, str>>, between: &str) -> Option<Cow<'a, str>> {
    let joined = if texts.len() > 1 { Cow::Owned(texts.join(between)) } else { texts.pop()? };
    (!joined.is_empty()).then_some(joined)
}

/// The texts of `system`: a string as it is, or those of its blocks that no engine cuts out.
fn system_texts(content: Raw<'_>) -> Result<Vec<Cow<'_, str>>, Unwritten> {
    if !content.is_list() {
        return Ok(vec![text(content)?]);
    }
    let mut texts = Vec::new();
    for block in list(&mut content.scanner(), block)? {
        match (&*block.kind, block.text) {
            // They change the tools in the course of a conversation.
            ("tool_addition" | "tool_removal", _) => return Err(Unwritten::Uncovered),
            ("text", Some(raw)) => texts.push(text(raw)?),
            _ => {}
        }
    }
    texts.retain(|text| !text.is_empty() && !is_billing_header(text));
    Ok(texts)
}

/// The text of a system message among the others.
fn inline_system(content: Raw<'_>) -> Result<Option<Cow<'_, str>>, Unwritten> {
    let mut texts = system_texts(content)?;
    texts.retain(|text| !is_billing_header(text));
    Ok(joined(texts, ""))
}

fn block<'a>(scanner: &mut Scanner<'a>) -> Result<Block<'a>, Unwritten> {
    let mut block = Block::default();
    let mut kind = None;
    let names =
        &["type", "text", "thinking", "source", "id", "name", "input", "tool_use_id", "tool_name", "content"];
    let mut fields = KnownFields::open(scanner, names)?;
    while let Some(name) = fields.next(scanner)? {
        let target = match name {
            "type" => &mut kind,
            "text" => &mut block.text,
            "thinking" => &mut block.thinking,
            "source" => &mut block.source,
            "id" => &mut block.id,
            "name" => &mut block.name,
            "input" => &mut block.input,
            "tool_use_id" => &mut block.tool_use_id,
            "tool_name" => &mut block.tool_name,
            _ => &mut block.content,
        };
        *target = scanner.present()?;
    }
    block.kind = required(kind)?;
    Ok(block)
}

/// A message of a user or an assistant, behind the results that stand in it.
fn converse<'a>(
    role: Cow<'a, str>,
    content: Raw<'a>,
    messages: &mut Vec<Message<'a>>,
) -> Result<(), Unwritten> {
    let is_user = role == "user";
    let mut message = Message { role, ..Message::default() };
    if !content.is_list() {
        message.parts.push(text(content)?);
        messages.push(message);
        return Ok(());
    }
    let mut reasoning = Vec::new();
    for block in list(&mut content.scanner(), block)? {
        match &*block.kind {
            "text" => message.parts.extend(optional(block.text)?.filter(|text| !text.is_empty())),
            "image" if block.source.is_some() => return Err(Unwritten::Media),
            "image" | "redacted_thinking" | "tool_reference" => {}
            "thinking" => reasoning.extend(optional(block.thinking)?),
            "tool_use" => message.calls.push(call(&block)?),
            "tool_result" if is_user => messages.push(result(&block)?),
            "tool_result" => {
                let content = optional(block.content)?.unwrap_or_default();
                message.parts.push(Cow::Owned(format!("Tool result: {content}")));
            }
            _ => return Err(Unwritten::Malformed),
        }
    }
    if is_user {
        // Templates get neither from a user.
        message.calls.clear();
        if message.parts.is_empty() {
            return Ok(());
        }
    } else if !reasoning.is_empty() {
        message.reasoning = Some(Cow::Owned(reasoning.concat()));
    }
    messages.push(message);
    Ok(())
}

fn call<'a>(block: &Block<'a>) -> Result<Call<'a>, Unwritten> {
    let id = optional(block.id)?.filter(|id| !id.is_empty()).ok_or(Unwritten::Malformed)?;
    let arguments = match block.input {
        Some(input) => Cow::Borrowed(str::from_utf8(input.bytes()).map_err(|_| Unwritten::Malformed)?),
        None => Cow::Borrowed("{}"),
    };
    if !arguments.starts_with('{') {
        return Err(Unwritten::Malformed);
    }
    let name = optional(block.name)?.unwrap_or_default();
    Ok(Call { id, name, arguments: object_or_empty(arguments) })
}

/// The message of a tool's result.
fn result<'a>(of: &Block<'a>) -> Result<Message<'a>, Unwritten> {
    let content = match of.content {
        None => Cow::default(),
        Some(content) if !content.is_list() => text(content)?,
        Some(content) => {
            let mut texts = Vec::new();
            for item in list(&mut content.scanner(), block)? {
                match (&*item.kind, item.tool_name.or(item.name)) {
                    ("text", _) => texts.push(optional(item.text)?.unwrap_or_default()),
                    // A template may look for the tools that a search has found.
                    ("image", _) | ("tool_reference", Some(_)) => return Err(Unwritten::Media),
                    _ => {}
                }
            }
            Cow::Owned(texts.join("\n"))
        }
    };
    let call_id = Some(optional(of.tool_use_id)?.unwrap_or_default());
    Ok(Message { role: Cow::Borrowed("tool"), parts: vec![content], call_id, ..Message::default() })
}
