//! `/v1/responses`: input items in, output items out. Nothing is stored, as with vLLM's default.

use super::{
    content::Content,
    error::ApiError,
    output::{Delta, ModelOutput, Wire},
    request::{ParsedRequest, read},
};
use crate::text::{Turn, render};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt::Write;

/// The number of events before the first delta.
const OPENING_EVENTS: usize = 4;

#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    input: Input,
    instructions: Option<String>,
    tools: Option<Vec<Value>>,
    max_output_tokens: Option<usize>,
    stream: Option<bool>,
    cache_salt: Option<String>,
    previous_response_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    Text(String),
    Items(Vec<Value>),
}

#[derive(Deserialize)]
struct Message {
    role: String,
    #[serde(default)]
    content: Content,
}

/// Messages keep their role. Other items (function calls and their outputs) are their JSON: calls belong to
/// the assistant, the rest to the tool.
fn turn_of(item: Value) -> Turn {
    let kind = item.get("type").and_then(Value::as_str).unwrap_or("message");
    let role = if kind == "function_call" || kind == "reasoning" { "assistant" } else { "tool" };
    let json = item.to_string();
    match serde_json::from_value::<Message>(item) {
        Ok(message) => Turn { role: message.role, content: message.content.into_text() },
        Err(_) => Turn { role: role.to_owned(), content: json },
    }
}

pub(super) fn parse(body: &[u8]) -> Result<ParsedRequest, ApiError> {
    let body: Body = read(body)?;
    if let Some(id) = body.previous_response_id {
        return Err(ApiError::Invalid(format!("previous_response_id {id:?}: responses are not stored")));
    }
    let system = body.instructions.map(|content| Turn { role: "system".to_owned(), content });
    let mut turns: Vec<Turn> = system.into_iter().collect();
    match body.input {
        Input::Text(content) => turns.push(Turn { role: "user".to_owned(), content }),
        Input::Items(items) => turns.extend(items.into_iter().map(turn_of)),
    }
    Ok(ParsedRequest {
        model: body.model,
        cache_salt: body.cache_salt.unwrap_or_default(),
        prompts: vec![render(&body.tools.unwrap_or_default(), &turns).into_bytes()],
        output_tokens: body.max_output_tokens,
        stream: body.stream.unwrap_or(false),
        include_usage: true,
    })
}

/// The encoding of the responses protocol.
pub(super) struct Responses;

// === impl Responses ===

impl Wire for Responses {
    fn id_prefix(&self) -> &'static str {
        "resp_"
    }

    fn whole(&self, output: &ModelOutput) -> Value {
        response(output, true)
    }

    fn opening(&self, output: &ModelOutput, events: &mut String) {
        event(events, 0, "response.created", json!({"response": response(output, false)}));
        event(events, 1, "response.in_progress", json!({"response": response(output, false)}));
        let item = item(output, None);
        event(events, 2, "response.output_item.added", json!({"output_index": 0, "item": item}));
        let part =
            json!({"item_id": item_id(output), "output_index": 0, "content_index": 0, "part": part("")});
        event(events, 3, "response.content_part.added", part);
    }

    fn delta(&self, output: &ModelOutput, delta: Delta<'_>, events: &mut String) {
        let (id, text, number) = (item_id(output), delta.text, delta.number + OPENING_EVENTS);
        let _ = write!(
            events,
            "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\
             \"sequence_number\":{number},\"item_id\":{id},\"output_index\":0,\"content_index\":0,\
             \"delta\":\"{text}\",\"logprobs\":[]}}\n\n"
        );
    }

    fn closing(&self, output: &ModelOutput, deltas: usize, events: &mut String) {
        let (number, text) = (deltas + OPENING_EVENTS, output.only_text());
        let id = item_id(output);
        let done = json!({"item_id": id, "output_index": 0, "content_index": 0, "text": text});
        event(events, number, "response.output_text.done", done);
        let done = json!({"item_id": id, "output_index": 0, "content_index": 0, "part": part(&text)});
        event(events, number + 1, "response.content_part.done", done);
        let done = json!({"output_index": 0, "item": item(output, Some(&text))});
        event(events, number + 2, "response.output_item.done", done);
        event(events, number + 3, "response.completed", json!({"response": response(output, true)}));
    }
}

fn event(events: &mut String, number: usize, kind: &str, mut data: Value) {
    data["type"] = kind.into();
    data["sequence_number"] = number.into();
    let _ = write!(events, "event: {kind}\ndata: {data}\n\n");
}

fn item_id(output: &ModelOutput) -> Value {
    format!("msg_{}", output.id().as_str().unwrap_or_default()).into()
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": null})
}

fn item(output: &ModelOutput, text: Option<&str>) -> Value {
    json!({
        "id": item_id(output), "type": "message", "role": "assistant",
        "status": if text.is_some() { "completed" } else { "in_progress" },
        "content": text.map(part).into_iter().collect::<Vec<_>>(),
    })
}

fn response(output: &ModelOutput, done: bool) -> Value {
    let text = output.only_text();
    let usage = done.then(|| {
        json!({
            "input_tokens": output.prompt_tokens(),
            "input_tokens_details": {"cached_tokens": output.cached_tokens()},
            "output_tokens": output.output_tokens(),
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": output.prompt_tokens() + output.output_tokens(),
        })
    });
    let status = match (done, output.capped) {
        (false, _) => "in_progress",
        (true, true) => "incomplete",
        (true, false) => "completed",
    };
    json!({
        "id": output.id(), "object": "response", "created_at": output.created_s, "model": output.model(),
        "status": status,
        "incomplete_details": (status == "incomplete").then(|| json!({"reason": "max_output_tokens"})),
        "output": if done { json!([item(output, Some(&text))]) } else { json!([]) },
        "usage": usage,
    })
}
