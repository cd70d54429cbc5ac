//! `/v1/chat/completions`: messages and tools in, one assistant message out.

use super::{
    content::Content,
    error::ApiError,
    output::{Delta, ModelOutput, Wire},
    request::{ParsedRequest, Prompt, Reading, StreamOptions, only_one, read, required_tool},
};
use crate::text::{Template, Turn};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt::Write;

#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    messages: Vec<Message>,
    tools: Option<Vec<Value>>,
    tool_choice: Option<Value>,
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
    n: Option<u32>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    cache_salt: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    #[serde(default)]
    content: Content,
    tool_calls: Option<Vec<Value>>,
}

// === impl Message ===

impl Message {
    fn into_turn(self, reading: Reading) -> Turn {
        let mut content = self.content.into_text(reading);
        if reading.template == Template::Own {
            content.extend(self.tool_calls.into_iter().flatten().map(|call| call.to_string()));
        }
        Turn { role: self.role, content }
    }
}

pub(super) fn parse(body: &[u8], reading: Reading) -> Result<ParsedRequest, ApiError> {
    let body: Body = read(body)?;
    only_one(body.n)?;
    let turns: Vec<Turn> = body.messages.into_iter().map(|message| message.into_turn(reading)).collect();
    let tools = body.tools.unwrap_or_default();
    let prompt = reading.template.render(&tools, &turns);
    Ok(ParsedRequest {
        model: body.model,
        cache_salt: body.cache_salt.unwrap_or_default(),
        prompts: vec![Prompt::Text(prompt)],
        output_tokens: body.max_completion_tokens.or(body.max_tokens),
        stream: body.stream.unwrap_or(false),
        tool: required_tool(body.tool_choice.as_ref(), &tools),
        include_usage: body.stream_options.is_some_and(|options| options.include_usage),
    })
}

/// The encoding of chat completions.
pub(super) struct Chat;

// === impl Chat ===

impl Wire for Chat {
    fn id_prefix(&self) -> &'static str {
        "chatcmpl-"
    }

    fn whole(&self, output: &ModelOutput) -> Value {
        json!({
            "id": output.id(), "object": "chat.completion", "created": output.created_s, "model": output.model(),
            "choices": [{
                "index": 0, "message": message(output), "logprobs": null,
                "finish_reason": output.finish_reason(), "stop_reason": null,
            }],
            "usage": output.openai_usage(), "kv_transfer_params": null,
        })
    }

    fn opening(&self, output: &ModelOutput, events: &mut String) {
        head(output, events);
        events.push_str(concat!(
            r#""choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"#,
            "\"finish_reason\":null}]}\n\n"
        ));
    }

    fn delta(&self, output: &ModelOutput, delta: Delta<'_>, events: &mut String) {
        head(output, events);
        events.push_str(r#""choices":[{"index":0,"delta":{"#);
        let _ = match &output.tool {
            None => write!(events, r#""content":"{}""#, delta.text),
            Some(name) => write!(events, r#""tool_calls":[{}]"#, call_delta(output, name, delta)),
        };
        events.push_str(r#"},"logprobs":null,"finish_reason":"#);
        if delta.last {
            let _ = write!(events, r#""{}","stop_reason":null"#, output.finish_reason());
        } else {
            events.push_str("null");
        }
        events.push_str("}]}\n\n");
    }

    fn closing(&self, output: &ModelOutput, _: usize, events: &mut String) {
        if output.include_usage {
            head(output, events);
            let _ = write!(events, "\"choices\":[],\"usage\":{}}}\n\n", output.openai_usage());
        }
        events.push_str("data: [DONE]\n\n");
    }
}

fn message(output: &ModelOutput) -> Value {
    let Some(name) = &output.tool else { return json!({"role": "assistant", "content": output.only_text()}) };
    let function = json!({"name": name, "arguments": output.arguments()});
    let call = json!({"id": output.call_id(), "type": "function", "function": function});
    json!({"role": "assistant", "content": null, "tool_calls": [call]})
}

/// The first piece of a call names it, as that of vLLM does.
fn call_delta(output: &ModelOutput, name: &str, delta: Delta<'_>) -> String {
    let arguments = delta.argument();
    if delta.number > 0 {
        return format!(r#"{{"index":0,"function":{{"arguments":{arguments}}}}}"#);
    }
    let (id, name) = (Value::from(output.call_id()), Value::from(name));
    format!(
        r#"{{"id":{id},"type":"function","index":0,"function":{{"name":{name},"arguments":{arguments}}}}}"#
    )
}

fn head(output: &ModelOutput, events: &mut String) {
    let ModelOutput { id_json, model_json, created_s, .. } = output;
    let _ = write!(
        events,
        r#"data: {{"id":{id_json},"object":"chat.completion.chunk","created":{created_s},"model":{model_json},"#
    );
}
