//! `/v1/messages`: Anthropic's protocol, whose usage counts cached tokens apart from the others.

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

#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    #[serde(default)]
    system: Content,
    messages: Vec<Message>,
    tools: Option<Vec<Value>>,
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

pub(super) fn parse(body: &[u8]) -> Result<ParsedRequest, ApiError> {
    let body: Body = read(body)?;
    let system = body.system.into_text();
    let system = (!system.is_empty()).then(|| Turn { role: "system".to_owned(), content: system });
    let said = body
        .messages
        .into_iter()
        .map(|message| Turn { role: message.role, content: message.content.into_text() });
    let turns: Vec<Turn> = system.into_iter().chain(said).collect();
    Ok(ParsedRequest {
        model: body.model,
        cache_salt: body.cache_salt.unwrap_or_default(),
        prompts: vec![render(&body.tools.unwrap_or_default(), &turns).into_bytes()],
        output_tokens: body.max_tokens,
        stream: body.stream.unwrap_or(false),
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
        let content = json!([{"type": "text", "text": output.only_text()}]);
        message(output, &content, Some(stop_reason(output)), output.output_tokens())
    }

    fn opening(&self, output: &ModelOutput, events: &mut String) {
        let start = json!({"type": "message_start", "message": message(output, &json!([]), None, 0)});
        let _ = write!(events, "event: message_start\ndata: {start}\n\n");
        events.push_str(concat!(
            "event: content_block_start\n",
            r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
            "\n\n"
        ));
    }

    fn delta(&self, _: &ModelOutput, delta: Delta<'_>, events: &mut String) {
        let text = delta.text;
        let _ = write!(
            events,
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\
             \"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}}}\n\n"
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
    if output.capped { "max_tokens" } else { "end_turn" }
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
