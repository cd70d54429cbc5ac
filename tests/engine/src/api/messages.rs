//! `/v1/messages`: Anthropic's protocol, whose usage counts cached tokens apart from the others.

use super::{
    content::Content,
    error::ApiError,
    output::{Delta, ModelOutput, Wire},
    request::{ParsedRequest, Prompt, Reading, read, required_tool},
};
use crate::text::Turn;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt::Write;

#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    #[serde(default)]
    system: Content,
    messages: Vec<Message>,
    tools: Option<Vec<Value>>,
    tool_choice: Option<Value>,
    max_tokens: Option<usize>,
    stream: Option<bool>,
    cache_salt: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    #[serde(default)]
    content: Content,
}

pub(super) fn parse(body: &[u8], reading: Reading) -> Result<ParsedRequest, ApiError> {
    let body: Body = read(body)?;
    let system = body.system.into_text(reading);
    let system = (!system.is_empty()).then(|| Turn { role: "system".to_owned(), content: system });
    let said = body
        .messages
        .into_iter()
        .map(|message| Turn { role: message.role, content: message.content.into_text(reading) });
    let tools = body.tools.unwrap_or_default();
    let turns: Vec<Turn> = system.into_iter().chain(said).collect();
    Ok(ParsedRequest {
        model: body.model,
        cache_salt: body.cache_salt.unwrap_or_default(),
        prompts: vec![Prompt::Text(reading.template.render(&tools, &turns))],
        output_tokens: body.max_tokens,
        stream: body.stream.unwrap_or(false),
        tool: required_tool(body.tool_choice.as_ref(), &tools),
        include_usage: true,
    })
}

/// The encoding of Anthropic's messages.
pub(super) struct Messages;

// === impl Messages ===

impl Wire for Messages {
    fn id_prefix(&self) -> &'static str {
        "msg_"
    }

    fn whole(&self, output: &ModelOutput) -> Value {
        let block = match &output.tool {
            None => json!({"type": "text", "text": output.only_text()}),
            Some(name) => {
                let input: Value = serde_json::from_str(&output.arguments()).unwrap_or_default();
                json!({"type": "tool_use", "id": output.call_id(), "name": name, "input": input})
            }
        };
        message(output, &json!([block]), Some(stop_reason(output)), output.output_tokens())
    }

    fn opening(&self, output: &ModelOutput, events: &mut String) {
        let start = json!({"type": "message_start", "message": message(output, &json!([]), None, 0)});
        let _ = write!(events, "event: message_start\ndata: {start}\n\n");
        let block = match &output.tool {
            None => json!({"type": "text", "text": ""}),
            Some(name) => json!({"type": "tool_use", "id": output.call_id(), "name": name, "input": {}}),
        };
        let start = json!({"type": "content_block_start", "index": 0, "content_block": block});
        let _ = write!(events, "event: content_block_start\ndata: {start}\n\n");
    }

    fn delta(&self, output: &ModelOutput, delta: Delta<'_>, events: &mut String) {
        let piece = match &output.tool {
            None => format!(r#""text_delta","text":"{}""#, delta.text),
            Some(_) => format!(r#""input_json_delta","partial_json":{}"#, delta.argument()),
        };
        let _ = write!(
            events,
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\
             \"delta\":{{\"type\":{piece}}}}}\n\n"
        );
    }

    fn closing(&self, output: &ModelOutput, _: usize, events: &mut String) {
        let stop = json!({
            "type": "message_delta",
            "delta": {"stop_reason": stop_reason(output), "stop_sequence": null},
            "usage": usage(output, output.output_tokens()),
        });
        events.push_str("event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n");
        let _ = write!(events, "event: message_delta\ndata: {stop}\n\n");
        events.push_str("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    }
}

fn stop_reason(output: &ModelOutput) -> &'static str {
    match (&output.tool, output.capped) {
        (Some(_), _) => "tool_use",
        (None, true) => "max_tokens",
        (None, false) => "end_turn",
    }
}

fn message(output: &ModelOutput, content: &Value, stop_reason: Option<&str>, output_tokens: usize) -> Value {
    json!({
        "id": output.id(), "type": "message", "role": "assistant", "model": output.model(), "content": content,
        "stop_reason": stop_reason, "stop_sequence": null, "usage": usage(output, output_tokens),
    })
}

fn usage(output: &ModelOutput, output_tokens: usize) -> Value {
    json!({
        "input_tokens": output.prompt_tokens() - output.cached_tokens(),
        "cache_read_input_tokens": output.cached_tokens(),
        "cache_creation_input_tokens": 0,
        "output_tokens": output_tokens,
    })
}
