//! The messages of a chat with the fields that templates know, as vLLM hands them over: parts of content as text, reasoning under
//! either name, the arguments of calls as objects.

use crate::Unwritten;
use crate::dump::decoded;
use std::borrow::Cow;
use warmpath_json::{KnownFields, Raw, Scanner};

/// Messages, and parts and calls of one message, at most. A chat beyond has no text here.
const ITEMS_MAX: usize = 1 << 14;

/// A line with which agents begin their system prompt and that differs in every request. vLLM cuts it out.
const BILLING_HEADER: &str = "x-anthropic-billing-header";

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message<'a> {
    pub(crate) role: Cow<'a, str>,
    /// The texts of its parts.
    pub(crate) parts: Vec<Cow<'a, str>>,
    pub(crate) reasoning: Option<Cow<'a, str>>,
    pub(crate) calls: Vec<Call<'a>>,
    pub(crate) call_id: Option<Cow<'a, str>>,
    pub(crate) name: Option<Cow<'a, str>>,
    /// It has a field that few templates read and no program knows.
    pub(crate) has_more: bool,
}

/// A call of a tool.
#[derive(Clone, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) id: Cow<'a, str>,
    pub(crate) name: Cow<'a, str>,
    /// A JSON object.
    pub(crate) arguments: Cow<'a, str>,
}

pub(crate) fn messages(json: &[u8]) -> Result<Vec<Message<'_>>, Unwritten> {
    let mut scanner = Scanner::new(json);
    let found = list(&mut scanner, message)?;
    scanner.end()?;
    if found.is_empty() { Err(Unwritten::Malformed) } else { Ok(found) }
}

pub(crate) fn list<'a, T>(
    scanner: &mut Scanner<'a>,
    read: impl Fn(&mut Scanner<'a>) -> Result<T, Unwritten>,
) -> Result<Vec<T>, Unwritten> {
    let mut items = Vec::new();
    scanner.open_list()?;
    while scanner.has_item()? {
        if items.len() >= ITEMS_MAX {
            return Err(Unwritten::TooLarge);
        }
        items.push(read(scanner)?);
    }
    Ok(items)
}

/// A string's text.
pub(crate) fn text(raw: Raw<'_>) -> Result<Cow<'_, str>, Unwritten> {
    let body = raw.string_body().ok_or(Unwritten::Malformed)?;
    if raw.has_escape() {
        return decoded(body).map(Cow::Owned).ok_or(Unwritten::Malformed);
    }
    str::from_utf8(body).map(Cow::Borrowed).map_err(|_| Unwritten::Malformed)
}

/// The same of a field that must be there.
pub(crate) fn required(field: Option<Raw<'_>>) -> Result<Cow<'_, str>, Unwritten> {
    text(field.ok_or(Unwritten::Malformed)?)
}

/// The same of a field that may be left out.
pub(crate) fn optional(field: Option<Raw<'_>>) -> Result<Option<Cow<'_, str>>, Unwritten> {
    field.map(text).transpose()
}

/// Of an object, the only field that counts: its last value.
pub(crate) fn only_field<'a>(
    scanner: &mut Scanner<'a>,
    name: &'static [&'static str],
) -> Result<Option<Raw<'a>>, Unwritten> {
    let mut found = None;
    let mut fields = KnownFields::open(scanner, name)?;
    while fields.next(scanner)?.is_some() {
        found = scanner.present()?;
    }
    Ok(found)
}

/// How hard a model is to think, as an object states it.
pub(crate) fn effort_of(given: Option<Raw<'_>>) -> Result<Option<&[u8]>, Unwritten> {
    let effort = given.map(|given| only_field(&mut given.scanner(), &["effort"])).transpose()?.flatten();
    Ok(effort.map(Raw::bytes))
}

impl<'a> Message<'a> {
    /// The system message of a text, without what engines cut out.
    pub(crate) fn system(text: Cow<'a, str>) -> Self {
        let parts = without_billing_header(text).into_iter().collect();
        Self { role: Cow::Borrowed("system"), parts, ..Self::default() }
    }
}

pub(crate) fn message<'a>(scanner: &mut Scanner<'a>) -> Result<Message<'a>, Unwritten> {
    let mut found = Message::default();
    let (mut role, mut content, mut calls) = (None, None, None);
    let (mut reasoning, mut reasoning_content, mut call_id, mut name) = (None, None, None, None);
    let mut fields = KnownFields::open(
        scanner,
        &["role", "content", "tool_calls", "reasoning", "reasoning_content", "tool_call_id", "name", "task"],
    )?;
    while let Some(field) = fields.next(scanner)? {
        let target = match field {
            "role" => &mut role,
            "content" => &mut content,
            "tool_calls" => &mut calls,
            "reasoning" => &mut reasoning,
            "reasoning_content" => &mut reasoning_content,
            "tool_call_id" => &mut call_id,
            "name" => &mut name,
            _ => {
                found.has_more |= scanner.present()?.is_some_and(|raw| raw.string_body().is_some());
                continue;
            }
        };
        *target = scanner.present()?;
    }
    found.role = required(role)?;
    found.parts = content.map(parts).transpose()?.unwrap_or_default();
    match &*found.role {
        "system" => found.parts = found.parts.into_iter().filter_map(without_billing_header).collect(),
        "assistant" => {
            found.reasoning = optional(reasoning.or(reasoning_content))?;
            found.calls =
                calls.map(|calls| list(&mut calls.scanner(), call)).transpose()?.unwrap_or_default();
        }
        "tool" => found.call_id = optional(call_id)?,
        _ => {}
    }
    found.name = optional(name.filter(|name| name.string_body().is_some()))?;
    Ok(found)
}

/// Whether a text begins with the line that engines cut out.
pub(crate) fn is_billing_header(text: &str) -> bool {
    text.starts_with(BILLING_HEADER)
}

pub(crate) fn without_billing_header(part: Cow<'_, str>) -> Option<Cow<'_, str>> {
    if !is_billing_header(&part) {
        return Some(part);
    }
    let (_, rest) = part.split_once('\n')?;
    if rest.is_empty() { None } else { Some(Cow::Owned(rest.to_owned())) }
}

pub(crate) fn parts(content: Raw<'_>) -> Result<Vec<Cow<'_, str>>, Unwritten> {
    if content.is_list() { list(&mut content.scanner(), part) } else { Ok(vec![text(content)?]) }
}

fn part<'a>(scanner: &mut Scanner<'a>) -> Result<Cow<'a, str>, Unwritten> {
    let (mut kind, mut plain, mut refusal, mut thinking, mut uuid) = (None, None, None, None, None);
    let mut fields = KnownFields::open(scanner, &["type", "text", "refusal", "thinking", "uuid"])?;
    while let Some(field) = fields.next(scanner)? {
        let target = match field {
            "type" => &mut kind,
            "text" => &mut plain,
            "refusal" => &mut refusal,
            "thinking" => &mut thinking,
            _ => &mut uuid,
        };
        *target = scanner.present()?;
    }
    let chosen = match &*required(kind)? {
        "text" | "input_text" | "output_text" => plain,
        "refusal" => refusal,
        "thinking" => thinking,
        _ => return Err(Unwritten::Media),
    };
    if uuid.is_some() {
        return Err(Unwritten::Malformed);
    }
    required(chosen)
}

fn call<'a>(scanner: &mut Scanner<'a>) -> Result<Call<'a>, Unwritten> {
    let (mut id, mut kind, mut function) = (None, None, None);
    let mut fields = KnownFields::open(scanner, &["id", "type", "function"])?;
    while let Some(field) = fields.next(scanner)? {
        let target = match field {
            "id" => &mut id,
            "type" => &mut kind,
            _ => &mut function,
        };
        *target = scanner.present()?;
    }
    if kind.and_then(Raw::string_body) != Some(b"function") {
        return Err(Unwritten::Malformed);
    }
    let (mut name, mut arguments) = (None, None);
    let mut scanner = function.ok_or(Unwritten::Malformed)?.scanner();
    let mut fields = KnownFields::open(&mut scanner, &["name", "arguments"])?;
    while let Some(field) = fields.next(&mut scanner)? {
        let target = if field == "name" { &mut name } else { &mut arguments };
        *target = scanner.present()?;
    }
    Ok(Call { id: required(id)?, name: required(name)?, arguments: object_or_empty(required(arguments)?) })
}

/// What is no JSON, or no object, is in the conversation for good: engines take it for an empty object.
pub(crate) fn object_or_empty(arguments: Cow<'_, str>) -> Cow<'_, str> {
    let mut scanner = Scanner::new(arguments.as_bytes());
    let is_object = scanner.peek() == Ok(b'{') && scanner.skip().is_ok() && scanner.end().is_ok();
    if is_object { arguments } else { Cow::Borrowed("{}") }
}
