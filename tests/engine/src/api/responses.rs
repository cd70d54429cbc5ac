//! `/v1/responses`: input items in, output items out. Nothing is stored, as with vLLM's default.

use super::{
    content::{Content, text_of_part},
    error::ApiError,
    output::{Delta, ModelOutput, Wire},
    request::{ParsedRequest, Prompt, Reading, read, required_tool},
};
use crate::text::Turn;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt::Write;

/// The number of events before the first delta of text.
const OPENING_EVENTS: usize = 4;

/// The number of events before the first delta of a call, which has no parts.
const OPENING_EVENTS_OF_CALL: usize = 3;

#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    input: Input,
    instructions: Option<String>,
    tools: Option<Vec<Value>>,
    tool_choice: Option<Value>,
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

/// Messages keep their role. Other items (function calls and their outputs) are their JSON, media in them apart: calls belong to
/// the assistant, the rest to the tool.
fn turn_of(item: &Value, reading: Reading) -> Turn {
    let kind = item.get("type").and_then(Value::as_str).unwrap_or("message");
    let role = if kind == "function_call" || kind == "reasoning" { "assistant" } else { "tool" };
    match Message::deserialize(item) {
        Ok(message) => Turn { role: message.role, content: message.content.into_text(reading) },
        Err(_) => Turn { role: role.to_owned(), content: text_of_part(item, reading.media) },
    }
}

pub(super) fn parse(body: &[u8], reading: Reading) -> Result<ParsedRequest, ApiError> {
    let body: Body = read(body)?;
    if let Some(id) = body.previous_response_id {
        return Err(ApiError::Invalid(format!("previous_response_id {id:?}: responses are not stored")));
    }
    let tools = body.tools.unwrap_or_default();
    let system = body.instructions.map(|content| Turn { role: "system".to_owned(), content });
    let mut turns: Vec<Turn> = system.into_iter().collect();
    match body.input {
        Input::Text(content) => turns.push(Turn { role: "user".to_owned(), content }),
        Input::Items(items) => turns.extend(items.into_iter().map(|item| turn_of(&item, reading))),
    }
    Ok(ParsedRequest {
        model: body.model,
        cache_salt: body.cache_salt.unwrap_or_default(),
        prompts: vec![Prompt::Text(reading.template.render(&tools, &turns))],
        output_tokens: body.max_output_tokens,
        stream: body.stream.unwrap_or(false),
        tool: required_tool(body.tool_choice.as_ref(), &tools),
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

    fn created(&self, output: &ModelOutput, events: &mut String) {
        event(events, 0, "response.created", json!({"response": response(output, false)}));
        event(events, 1, "response.in_progress", json!({"response": response(output, false)}));
    }

    fn opening(&self, output: &ModelOutput, events: &mut String) {
        let item = item(output, false);
        event(events, 2, "response.output_item.added", json!({"output_index": 0, "item": item}));
        if output.tool.is_none() {
            let part =
                json!({"item_id": item_id(output), "output_index": 0, "content_index": 0, "part": part("")});
            event(events, 3, "response.content_part.added", part);
        }
    }

    fn delta(&self, output: &ModelOutput, delta: Delta<'_>, events: &mut String) {
        let (id, number) = (item_id(output), delta.number + opening_events(output));
        let _ = match &output.tool {
            None => write!(
                events,
                "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\
                 \"sequence_number\":{number},\"item_id\":{id},\"output_index\":0,\"content_index\":0,\
                 \"delta\":\"{}\",\"logprobs\":[]}}\n\n",
                delta.text
            ),
            Some(_) => write!(
                events,
                "event: response.function_call_arguments.delta\n\
                 data: {{\"type\":\"response.function_call_arguments.delta\",\
                 \"sequence_number\":{number},\"item_id\":{id},\"output_index\":0,\"delta\":{}}}\n\n",
                delta.argument()
            ),
        };
    }

    fn closing(&self, output: &ModelOutput, deltas: usize, events: &mut String) {
        let mut number = deltas + opening_events(output);
        let mut next = |kind: &str, data: Value| {
            event(events, number, kind, data);
            number += 1;
        };
        let (id, text) = (item_id(output), output.only_text());
        if output.tool.is_some() {
            let done = json!({"item_id": id, "output_index": 0, "arguments": output.arguments()});
            next("response.function_call_arguments.done", done);
        } else {
            let done = json!({"item_id": id, "output_index": 0, "content_index": 0, "text": text});
            next("response.output_text.done", done);
            let done = json!({"item_id": id, "output_index": 0, "content_index": 0, "part": part(&text)});
            next("response.content_part.done", done);
        }
        next("response.output_item.done", json!({"output_index": 0, "item": item(output, true)}));
        next("response.completed", json!({"response": response(output, true)}));
    }
}

fn opening_events(output: &ModelOutput) -> usize {
    if output.tool.is_some() { OPENING_EVENTS_OF_CALL } else { OPENING_EVENTS }
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

fn item(output: &ModelOutput, done: bool) -> Value {
    let status = if done { "completed" } else { "in_progress" };
    if let Some(name) = &output.tool {
        return json!({
            "id": item_id(output), "type": "function_call", "call_id": output.call_id(), "name": name,
            "arguments": if done { output.arguments() } else { String::new() }, "status": status,
        });
    }
    let content = done.then(|| part(&output.only_text()));
    json!({
        "id": item_id(output), "type": "message", "role": "assistant", "status": status,
        "content": content.into_iter().collect::<Vec<_>>(),
    })
}

fn response(output: &ModelOutput, done: bool) -> Value {
    let usage = done.then(|| {
        json!({
            "input_tokens": output.prompt_tokens(),
            "input_tokens_details": {"cached_tokens": output.cached_tokens()},
            "output_tokens": output.output_tokens(),
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": output.prompt_tokens() + output.output_tokens(),
        })
    });
    let status = match (done, output.capped && output.tool.is_none()) {
        (false, _) => "in_progress",
        (true, true) => "incomplete",
        (true, false) => "completed",
    };
    json!({
        "id": output.id(), "object": "response", "created_at": output.created_s, "model": output.model(),
        "status": status,
        "incomplete_details": (status == "incomplete").then(|| json!({"reason": "max_output_tokens"})),
        "output": if done { json!([item(output, true)]) } else { json!([]) },
        "usage": usage,
    })
}
