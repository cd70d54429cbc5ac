//! What an engine makes of a chat before its template sees it, as vLLM does: messages with the fields that templates know,
//! content as one string or as a list of parts, the arguments of tool calls as objects, tools with all their fields.
//!
//! Clients move fields of their own around, and templates write objects as JSON again: only the engine's order of fields gives
//! the engine's text.

use crate::{ContentFormat, value};
use minijinja::Value;
use minijinja::value::{DynObject, ValueKind};
use warmpath_template::Unwritten;

/// A line with which agents begin their system prompt and that differs in every request. vLLM cuts it out.
const BILLING_HEADER: &str = "x-anthropic-billing-header";

/// Fields of a part that the engine knows. Others stay beside its text.
const PART_FIELDS: [&str; 18] = [
    "audio_embeds",
    "audio_url",
    "closed",
    "data",
    "file",
    "image_embeds",
    "image_pil",
    "image_url",
    "input_audio",
    "name",
    "prompt_cache_breakpoint",
    "refusal",
    "text",
    "thinking",
    "type",
    "uuid",
    "video_embeds",
    "video_url",
];

type Fields = Vec<(Value, Value)>;

/// The messages as the template gets them. `has_developer`: the template knows that role.
pub(crate) fn messages(json: &[u8], format: ContentFormat, has_developer: bool) -> Result<Value, Unwritten> {
    let given = value::from_json(json)?;
    let mut messages = Vec::new();
    for message in items(&given)? {
        messages.push(conversation_message(&message, format)?);
    }
    if messages.is_empty() {
        return Err(Unwritten::Malformed);
    }
    if !has_developer && messages.iter().any(|message| role_of(message) == Some("developer")) {
        messages = with_one_system(messages);
    }
    Ok(messages.into_iter().map(Value::from_pairs).collect())
}

/// The tools as the template gets them.
pub(crate) fn tools(json: &[u8]) -> Result<Value, Unwritten> {
    let given = value::from_json(json)?;
    let mut tools = Vec::new();
    for tool in items(&given)? {
        tools.push(function_tool(&tool)?);
    }
    if tools.is_empty() { Err(Unwritten::Malformed) } else { Ok(Value::from(tools)) }
}

fn function_tool(tool: &Value) -> Result<Value, Unwritten> {
    let function = field(tool, "function").ok_or(Unwritten::Malformed)?;
    let kind = field(tool, "type").unwrap_or_else(|| Value::from("function"));
    if kind.as_str() != Some("function") || function.kind() != ValueKind::Map {
        return Err(Unwritten::Malformed);
    }
    let deferred = field(tool, "defer_loading");
    let get = |name| field(&function, name);
    let mut fields = vec![
        ("name", get("name").ok_or(Unwritten::Malformed)?),
        ("description", get("description").unwrap_or_else(none)),
        ("parameters", get("parameters").unwrap_or_else(none)),
    ];
    fields.extend(get("strict").map(|strict| ("strict", strict)));
    fields.extend(get("defer_loading").or_else(|| deferred.clone()).map(|value| ("defer_loading", value)));
    let mut tool = vec![("type", kind), ("function", Value::from_pairs(fields))];
    tool.extend(deferred.map(|value| ("defer_loading", value)));
    Ok(Value::from_pairs(tool))
}

fn conversation_message(message: &Value, format: ContentFormat) -> Result<Fields, Unwritten> {
    let role = field(message, "role").ok_or(Unwritten::Malformed)?;
    let role = role.as_str().ok_or(Unwritten::Malformed)?;
    let mut parts = content_parts(field(message, "content"))?;
    if role == "system" {
        parts = without_billing_header(parts);
    }
    let mut fields: Fields = vec![pair("role", role), ("content".into(), content(parts, format, role))];
    match role {
        "assistant" => {
            let calls = field(message, "tool_calls").map(|calls| tool_calls(&calls)).transpose()?;
            if let Some(calls) = calls.filter(|calls| !calls.is_empty()) {
                fields.push(("tool_calls".into(), Value::from(calls)));
            }
            let reasoning = field(message, "reasoning").or_else(|| field(message, "reasoning_content"));
            if let Some(reasoning) = reasoning {
                fields.push(("reasoning".into(), reasoning.clone()));
                fields.push(("reasoning_content".into(), reasoning));
            }
        }
        "tool" => fields.extend(field(message, "tool_call_id").map(|id| ("tool_call_id".into(), id))),
        _ => {}
    }
    for name in ["name", "task"] {
        let text = field(message, name).filter(|value| value.kind() == ValueKind::String);
        fields.extend(text.map(|text| (name.into(), text)));
    }
    if role == "developer" {
        fields.push(("tools".into(), field(message, "tools").unwrap_or_else(none)));
    }
    Ok(fields)
}

/// A part's text, and the fields beside it.
struct Part {
    text: Value,
    others: Fields,
}

fn content_parts(content: Option<Value>) -> Result<Vec<Part>, Unwritten> {
    let Some(content) = content else { return Ok(Vec::new()) };
    if content.kind() == ValueKind::String {
        return Ok(vec![Part { text: content, others: Vec::new() }]);
    }
    let mut parts = Vec::new();
    for part in items(&content)? {
        let kind = field(&part, "type").ok_or(Unwritten::Malformed)?;
        let name = match kind.as_str() {
            Some("text" | "input_text" | "output_text") => "text",
            Some("refusal") => "refusal",
            Some("thinking") => "thinking",
            Some(_) => return Err(Unwritten::Media),
            None => return Err(Unwritten::Malformed),
        };
        if field(&part, "uuid").is_some() {
            return Err(Unwritten::Malformed);
        }
        let text = field(&part, name).filter(|text| text.kind() == ValueKind::String);
        let text = text.ok_or(Unwritten::Malformed)?;
        let fields = part.as_object().and_then(DynObject::try_iter_pairs).into_iter().flatten();
        let others =
            fields.filter(|(name, _)| !name.as_str().is_some_and(|name| PART_FIELDS.contains(&name)));
        parts.push(Part { text, others: others.collect() });
    }
    Ok(parts)
}

fn without_billing_header(parts: Vec<Part>) -> Vec<Part> {
    let cut = |part: Part| {
        let text = part.text.as_str().unwrap_or_default();
        if !text.starts_with(BILLING_HEADER) {
            return Some(part);
        }
        let (_, rest) = text.split_once('\n')?;
        if rest.is_empty() { None } else { Some(Part { text: Value::from(rest), others: part.others }) }
    };
    parts.into_iter().filter_map(cut).collect()
}

fn content(mut parts: Vec<Part>, format: ContentFormat, role: &str) -> Value {
    if format == ContentFormat::Parts && role != "tool" {
        let part = |part: Part| {
            let head = [pair("type", "text"), ("text".into(), part.text)];
            Value::from_pairs(head.into_iter().chain(part.others))
        };
        return parts.into_iter().map(part).collect();
    }
    if parts.len() == 1 {
        return parts.remove(0).text;
    }
    let texts: Vec<&str> = parts.iter().filter_map(|part| part.text.as_str()).collect();
    Value::from(texts.join("\n"))
}

fn tool_calls(calls: &Value) -> Result<Vec<Value>, Unwritten> {
    let mut written = Vec::new();
    for call in items(calls)? {
        let function = field(&call, "function").ok_or(Unwritten::Malformed)?;
        let name = field(&function, "name").ok_or(Unwritten::Malformed)?;
        let arguments = field(&function, "arguments").ok_or(Unwritten::Malformed)?;
        let arguments = arguments.as_str().ok_or(Unwritten::Malformed)?;
        // What is no JSON, or no object, is in the conversation for good: engines take it for an empty object.
        let parsed = match value::from_json(arguments.as_bytes()) {
            Ok(parsed) if parsed.kind() == ValueKind::Map => parsed,
            Ok(_) | Err(Unwritten::Malformed) => Value::from_pairs(Fields::new()),
            Err(other) => return Err(other),
        };
        let mut fields: Fields = vec![("arguments".into(), parsed), ("name".into(), name)];
        fields.extend(others(&function, &["arguments", "name"]));
        let id = field(&call, "id").ok_or(Unwritten::Malformed)?;
        let kind = field(&call, "type").filter(|kind| kind.as_str() == Some("function"));
        let kind = kind.ok_or(Unwritten::Malformed)?;
        let mut item: Fields =
            vec![("id".into(), id), ("function".into(), Value::from_pairs(fields)), ("type".into(), kind)];
        item.extend(others(&call, &["id", "function", "type"]));
        written.push(Value::from_pairs(item));
    }
    Ok(written)
}

/// The fields beside those of some names.
fn others(object: &Value, names: &[&str]) -> Fields {
    let fields = object.as_object().and_then(DynObject::try_iter_pairs).into_iter().flatten();
    fields.filter(|(name, _)| !name.as_str().is_some_and(|name| names.contains(&name))).collect()
}

/// The system messages and those of developers as one system message, at the head.
fn with_one_system(messages: Vec<Fields>) -> Vec<Fields> {
    let mut texts = Vec::new();
    let mut others = Vec::new();
    let mut systems = Vec::new();
    for (at, mut message) in messages.into_iter().enumerate() {
        if !matches!(role_of(&message), Some("system" | "developer")) {
            others.push(message);
            continue;
        }
        if role_of(&message) == Some("developer") {
            message.retain(|(name, _)| name.as_str() != Some("tools"));
            if let Some((_, role)) = message.first_mut() {
                *role = Value::from("system");
            }
        }
        let text = message.get(1).map(|(_, content)| joined(content)).unwrap_or_default();
        if !text.is_empty() {
            texts.push(text);
        }
        systems.push((at, message));
    }
    let mut merged = match systems.as_slice() {
        [(0, _)] => systems.into_iter().map(|(_, message)| message).collect(),
        _ => vec![vec![pair("role", "system"), ("content".into(), Value::from(texts.join("\n\n")))]],
    };
    merged.append(&mut others);
    merged
}

fn joined(content: &Value) -> String {
    if let Some(text) = content.as_str() {
        return text.to_owned();
    }
    let parts = content.try_iter().into_iter().flatten();
    let texts: Vec<Value> = parts.filter_map(|part| field(&part, "text")).collect();
    texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
}

fn role_of(message: &Fields) -> Option<&str> {
    message.first().and_then(|(_, role)| role.as_str())
}

fn items(list: &Value) -> Result<impl Iterator<Item = Value>, Unwritten> {
    if list.kind() != ValueKind::Seq {
        return Err(Unwritten::Malformed);
    }
    list.try_iter().map_err(|_| Unwritten::Malformed)
}

/// A field that is present and not `null`.
pub(crate) fn field(object: &Value, name: &str) -> Option<Value> {
    let found = object.get_attr(name).ok()?;
    if found.is_undefined() || found.is_none() { None } else { Some(found) }
}

fn pair(name: &str, text: &str) -> (Value, Value) {
    (name.into(), text.into())
}

fn none() -> Value {
    Value::from(())
}
