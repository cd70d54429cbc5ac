//! `/v1/completions`: text or tokens in, text out.

use super::{
    error::ApiError,
    output::{Delta, ModelOutput, Wire},
    request::{self, ParsedRequest, StreamOptions, only_one, read},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt::Write;

#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    prompt: Prompt,
    max_tokens: Option<usize>,
    n: Option<u32>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    cache_salt: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Prompt {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u32>),
    TokenLists(Vec<Vec<u32>>),
}

// === impl Prompt ===

impl Prompt {
    fn into_list(self) -> Vec<request::Prompt> {
        match self {
            Self::Text(text) => vec![request::Prompt::Text(text)],
            Self::Texts(texts) => texts.into_iter().map(request::Prompt::Text).collect(),
            Self::Tokens(tokens) => vec![request::Prompt::Tokens(tokens)],
            Self::TokenLists(lists) => lists.into_iter().map(request::Prompt::Tokens).collect(),
        }
    }
}

pub(super) fn parse(body: &[u8]) -> Result<ParsedRequest, ApiError> {
    let body: Body = read(body)?;
    only_one(body.n)?;
    Ok(ParsedRequest {
        model: body.model,
        cache_salt: body.cache_salt.unwrap_or_default(),
        prompts: body.prompt.into_list(),
        output_tokens: body.max_tokens,
        stream: body.stream.unwrap_or(false),
        tool: None,
        include_usage: body.stream_options.is_some_and(|options| options.include_usage),
    })
}

/// The encoding of text completions.
pub(super) struct Completions;

// === impl Completions ===

impl Wire for Completions {
    fn id_prefix(&self) -> &'static str {
        "cmpl-"
    }

    fn whole(&self, output: &ModelOutput) -> Value {
        let choices = output.choices.iter().enumerate().map(|(index, choice)| {
            json!({
                "index": index, "text": choice.filler.text(0..choice.output_tokens), "logprobs": null,
                "finish_reason": output.finish_reason(), "stop_reason": null,
            })
        });
        json!({
            "id": output.id(), "object": "text_completion", "created": output.created_s, "model": output.model(),
            "choices": choices.collect::<Vec<_>>(), "usage": output.openai_usage(), "kv_transfer_params": null,
        })
    }

    fn opening(&self, _: &ModelOutput, _: &mut String) {}

    fn delta(&self, output: &ModelOutput, delta: Delta<'_>, events: &mut String) {
        let Delta { choice, text, last, .. } = delta;
        head(output, events);
        let _ = write!(
            events,
            r#""choices":[{{"index":{choice},"text":"{text}","logprobs":null,"finish_reason":"#
        );
        events.push_str(if last { if output.capped { "\"length\"" } else { "\"stop\"" } } else { "null" });
        events.push_str(",\"stop_reason\":null}]}\n\n");
    }

    fn closing(&self, output: &ModelOutput, _: usize, events: &mut String) {
        if output.include_usage {
            head(output, events);
            let _ = write!(events, "\"choices\":[],\"usage\":{}}}\n\n", output.openai_usage());
        }
        events.push_str("data: [DONE]\n\n");
    }
}

fn head(output: &ModelOutput, events: &mut String) {
    let ModelOutput { id_json, model_json, created_s, .. } = output;
    let _ = write!(
        events,
        r#"data: {{"id":{id_json},"object":"text_completion","created":{created_s},"model":{model_json},"#
    );
}
