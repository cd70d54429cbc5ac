//! `/v1/responses` as vLLM makes a chat of it: of the items that follow one another, one message of the assistant each.
//!
//! The rules are those of vLLM 0.32. What it rejects, or keeps in a store of its own, has no text here.

use crate::dump::quote;
use crate::messages::{
    Call, Message, effort_of, list, message, object_or_empty, only_field, optional, parts, required, text,
};
use crate::tools::{Function, Tool};
use crate::{Given, Unwritten};
use std::borrow::Cow;
use warmpath_json::{KnownFields, Raw, Scanner};

/// Between the name of a tool and that of the namespace that it is from.
const NAMESPACE_SEPARATOR: &str = "__";

/// The fields of a body that reach its text, each as it is written, unless `null`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponsesBody<'a> {
    /// `instructions`.
    pub instructions: Option<Raw<'a>>,
    /// `input`.
    pub input: Option<Raw<'a>>,
    /// `tools`.
    pub tools: Option<Raw<'a>>,
    /// `reasoning`.
    pub reasoning: Option<Raw<'a>>,
    /// `chat_template_kwargs`.
    pub arguments: Option<Raw<'a>>,
}

/// An item of the input, with its fields as they are written.
#[derive(Default)]
struct Item<'a> {
    kind: Option<Cow<'a, str>>,
    role: Option<Cow<'a, str>>,
    status: Option<Cow<'a, str>>,
    content: Option<Raw<'a>>,
    summary: Option<Raw<'a>>,
    encrypted: Option<Raw<'a>>,
    call_id: Option<Raw<'a>>,
    name: Option<Raw<'a>>,
    namespace: Option<Raw<'a>>,
    arguments: Option<Raw<'a>>,
    input: Option<Raw<'a>>,
    output: Option<Raw<'a>>,
}

/// The messages so far.
#[derive(Default)]
struct Messages<'a> {
    messages: Vec<Message<'a>>,
    /// How many of them are of this request's input: instructions are not continued.
    of_input: usize,
}

impl<'a> ResponsesBody<'a> {
    /// The chat.
    pub fn given(&self) -> Result<Given<'a>, Unwritten> {
        let mut messages = Messages::default();
        if let Some(instructions) = optional(self.instructions)?.filter(|text| !text.is_empty()) {
            messages.messages.push(Message::system(instructions));
        }
        let is_continued = match self.input.ok_or(Unwritten::Malformed)? {
            input if input.is_list() => messages.read(input)?,
            input => {
                let parts = vec![text(input)?];
                messages.push(Message { role: Cow::Borrowed("user"), parts, ..Message::default() });
                false
            }
        };
        if messages.of_input == 0 {
            return Err(Unwritten::Malformed);
        }
        Ok(Given {
            messages: messages.messages,
            tools: self.tools.map(tools).transpose()?.unwrap_or_default(),
            arguments: self.arguments.map(Raw::bytes),
            reasoning_effort: effort_of(self.reasoning)?,
            is_continued,
            has_no_generation_prompt: is_continued,
            has_names_first: true,
        })
    }
}

/// The functions among the tools. Engines leave out tools of the vendor's own; a list of nothing else is another one than none.
fn tools(given: Raw<'_>) -> Result<Vec<Tool<'_>>, Unwritten> {
    let found = list(&mut given.scanner(), tool)?;
    let is_empty = found.is_empty();
    let functions: Vec<Tool<'_>> = found.into_iter().flatten().collect();
    if functions.is_empty() && !is_empty { Err(Unwritten::Uncovered) } else { Ok(functions) }
}

fn tool<'a>(scanner: &mut Scanner<'a>) -> Result<Option<Tool<'a>>, Unwritten> {
    let names = &["type", "name", "description", "parameters", "strict", "defer_loading"];
    let (found, kind) = Function::read(scanner, names)?;
    match kind.and_then(Raw::string_body) {
        Some(b"function") => found.tool(None).map(Some),
        // Engines describe these as functions, in words of their own.
        Some(b"custom" | b"namespace") => Err(Unwritten::Uncovered),
        Some(_) => Ok(None),
        None => Err(Unwritten::Malformed),
    }
}

fn item<'a>(scanner: &mut Scanner<'a>) -> Result<(Item<'a>, Raw<'a>), Unwritten> {
    scanner.read_with_raw(|scanner| {
        let mut item = Item::default();
        let names = &[
            "type",
            "role",
            "status",
            "content",
            "summary",
            "encrypted_content",
            "call_id",
            "name",
            "namespace",
            "arguments",
            "input",
            "output",
        ];
        let mut fields = KnownFields::open(scanner, names)?;
        while let Some(name) = fields.next(scanner)? {
            let target = match name {
                "type" => {
                    item.kind = optional(scanner.present()?)?;
                    continue;
                }
                "role" => {
                    item.role = optional(scanner.present()?)?;
                    continue;
                }
                "status" => {
                    item.status = optional(scanner.present()?)?;
                    continue;
                }
                "content" => &mut item.content,
                "summary" => &mut item.summary,
                "encrypted_content" => &mut item.encrypted,
                "call_id" => &mut item.call_id,
                "name" => &mut item.name,
                "namespace" => &mut item.namespace,
                "arguments" => &mut item.arguments,
                "input" => &mut item.input,
                _ => &mut item.output,
            };
            *target = scanner.present()?;
        }
        Ok(item)
    })
}

/// The text of the first of some parts. `None`: there are none.
fn first_text(parts: Option<Raw<'_>>) -> Result<Option<Cow<'_, str>>, Unwritten> {
    let Some(parts) = parts else { return Ok(None) };
    let mut scanner = parts.scanner();
    scanner.open_list()?;
    if !scanner.has_item()? {
        return Ok(None);
    }
    required(only_field(&mut scanner, &["text"])?).map(Some)
}

// === impl Messages ===

impl<'a> Messages<'a> {
    fn push(&mut self, message: Message<'a>) {
        self.messages.push(message);
        self.of_input += 1;
    }

    /// The message of the assistant that an item belongs to: the last one, if it goes on with that, or a new one.
    fn assistant(&mut self, goes_on: impl Fn(&Message<'a>) -> bool) -> Result<&mut Message<'a>, Unwritten> {
        let last = if self.of_input > 0 { self.messages.last() } else { None };
        if !last.is_some_and(|last| last.role == "assistant" && goes_on(last)) {
            self.push(Message { role: Cow::Borrowed("assistant"), ..Message::default() });
        }
        self.messages.last_mut().ok_or(Unwritten::Malformed)
    }

    /// Reads the items. Whether the last one is to be continued.
    fn read(&mut self, input: Raw<'a>) -> Result<bool, Unwritten> {
        let mut is_continued = false;
        for (item, raw) in list(&mut input.scanner(), item)? {
            let is_open = matches!(item.status.as_deref(), Some("in_progress" | "incomplete"));
            is_continued = is_open && matches!(item.kind.as_deref(), None | Some("message" | "reasoning"));
            self.add(&item, raw)?;
        }
        Ok(is_continued)
    }

    fn add(&mut self, item: &Item<'a>, raw: Raw<'a>) -> Result<(), Unwritten> {
        match (item.kind.as_deref(), item.role.as_deref()) {
            (Some("function_call"), _) => {
                let name = required(item.name)?;
                let name = match optional(item.namespace)?.filter(|space| !space.is_empty()) {
                    Some(space) => Cow::Owned([&*space, NAMESPACE_SEPARATOR, &*name].concat()),
                    None => name,
                };
                let arguments = object_or_empty(required(item.arguments)?);
                self.add_call(item.call_id, name, arguments)
            }
            (Some("custom_tool_call"), _) => {
                let name = required(item.name)?;
                let input = optional(item.input)?.unwrap_or_default();
                let mut arguments = String::from("{\"input\":");
                quote(&input, &mut arguments);
                arguments.push('}');
                self.add_call(item.call_id, name, Cow::Owned(arguments))
            }
            (Some("reasoning"), _) => self.add_reasoning(item),
            (Some("function_call_output" | "custom_tool_call_output"), _) => {
                let content = item.output.ok_or(Unwritten::Malformed)?;
                let call_id = Some(required(item.call_id)?);
                let parts = parts(content)?;
                self.push(Message { role: Cow::Borrowed("tool"), parts, call_id, ..Message::default() });
                Ok(())
            }
            (None | Some("message"), Some("assistant")) => {
                let content = item.content.ok_or(Unwritten::Malformed)?;
                let content = if content.is_list() {
                    first_text(Some(content))?.ok_or(Unwritten::Malformed)?
                } else {
                    text(content)?
                };
                self.assistant(|last| last.parts.is_empty())?.parts.push(content);
                Ok(())
            }
            (None | Some("message"), Some(_)) => {
                let found = message(&mut raw.scanner())?;
                self.push(found);
                Ok(())
            }
            _ => Err(Unwritten::Malformed),
        }
    }

    fn add_call(
        &mut self,
        id: Option<Raw<'a>>,
        name: Cow<'a, str>,
        arguments: Cow<'a, str>,
    ) -> Result<(), Unwritten> {
        let id = required(id)?;
        self.assistant(|_| true)?.calls.push(Call { id, name, arguments });
        Ok(())
    }

    fn add_reasoning(&mut self, item: &Item<'a>) -> Result<(), Unwritten> {
        if item.encrypted.is_some() {
            return Err(Unwritten::Malformed);
        }
        let reasoning = match first_text(item.content)? {
            Some(reasoning) => reasoning,
            None => first_text(item.summary)?.unwrap_or_default(),
        };
        self.assistant(|last| last.reasoning.is_none())?.reasoning = Some(reasoning);
        Ok(())
    }
}
