//! The model's output for a request, before a protocol encodes it.

use crate::text::Filler;
use serde_json::{Value, json};

/// The output for one prompt of a request.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Its text.
    pub filler: Filler,
    /// Length of the prompt in tokens.
    pub prompt_tokens: usize,
    /// Prompt tokens that the cache held; known from the first token on.
    pub cached_tokens: usize,
    /// Length of the output in tokens.
    pub output_tokens: usize,
}

/// The output for a request.
#[derive(Clone, Debug)]
pub struct ModelOutput {
    /// The response's id, as a JSON string with its quotes.
    pub id_json: String,
    /// The model as the request named it, as a JSON string with its quotes.
    pub model_json: String,
    /// Seconds since 1970.
    pub created_s: u64,
    /// One for each prompt, in order.
    pub choices: Vec<Choice>,
    /// The tool that the response calls, its words as the one argument; `None`: the response is text.
    pub tool: Option<String>,
    /// Whether the request limited the output: it then finishes by length, otherwise by itself.
    pub capped: bool,
    /// Whether an OpenAI stream ends with the usage.
    pub include_usage: bool,
}

/// The name of a call's one argument.
const ARGUMENT: &str = "words";

/// A piece of a streamed response.
#[derive(Clone, Copy, Debug)]
pub struct Delta<'a> {
    /// The choice that it belongs to.
    pub choice: usize,
    /// The number of deltas before it.
    pub number: usize,
    /// Plain ASCII words, which need no escaping.
    pub text: &'a str,
    /// Whether it is the choice's last.
    pub last: bool,
}

/// The encoding of an output in one protocol. Events are complete server-sent events, appended to a buffer.
pub trait Wire: Send + Sync {
    /// The prefix of response ids in this protocol.
    fn id_prefix(&self) -> &'static str;
    /// The body of a response that is not streamed.
    fn whole(&self, output: &ModelOutput) -> Value;
    /// The events that are sent before the model begins.
    fn created(&self, _: &ModelOutput, _: &mut String) {}
    /// The events before the first delta.
    fn opening(&self, output: &ModelOutput, events: &mut String);
    /// The event of one delta.
    fn delta(&self, output: &ModelOutput, delta: Delta<'_>, events: &mut String);
    /// The events after the last of `deltas` deltas.
    fn closing(&self, output: &ModelOutput, deltas: usize, events: &mut String);
}

// === impl Delta ===

impl Delta<'_> {
    /// The piece of the JSON of a call's arguments, as a JSON string with its quotes.
    pub(super) fn argument(&self) -> String {
        let open = if self.number == 0 { format!("{{\"{ARGUMENT}\":\"") } else { String::new() };
        let close = if self.last { "\"}" } else { "" };
        Value::from(format!("{open}{}{close}", self.text)).to_string()
    }
}

// === impl ModelOutput ===

impl ModelOutput {
    /// Prompt tokens of all choices.
    pub fn prompt_tokens(&self) -> usize {
        self.choices.iter().map(|choice| choice.prompt_tokens).sum()
    }

    /// Cached prompt tokens of all choices.
    pub fn cached_tokens(&self) -> usize {
        self.choices.iter().map(|choice| choice.cached_tokens).sum()
    }

    /// Generated tokens of all choices.
    pub fn output_tokens(&self) -> usize {
        self.choices.iter().map(|choice| choice.output_tokens).sum()
    }

    /// OpenAI's finish reason.
    pub(super) fn finish_reason(&self) -> &'static str {
        match (&self.tool, self.capped) {
            (Some(_), _) => "tool_calls",
            (None, true) => "length",
            (None, false) => "stop",
        }
    }

    /// The arguments of the call, as text.
    pub(super) fn arguments(&self) -> String {
        json!({ARGUMENT: self.only_text()}).to_string()
    }

    /// The id of the call.
    pub(super) fn call_id(&self) -> String {
        format!("call_{}", self.id().as_str().unwrap_or_default())
    }

    /// The usage of completions and chat.
    pub(super) fn openai_usage(&self) -> Value {
        json!({
            "prompt_tokens": self.prompt_tokens(),
            "completion_tokens": self.output_tokens(),
            "total_tokens": self.prompt_tokens() + self.output_tokens(),
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens()},
        })
    }

    /// The id without its quotes, for `json!`.
    pub(crate) fn id(&self) -> Value {
        parse_string(&self.id_json)
    }

    /// The model without its quotes, for `json!`.
    pub(super) fn model(&self) -> Value {
        parse_string(&self.model_json)
    }

    /// The whole text of the only choice that chat protocols have.
    pub(super) fn only_text(&self) -> String {
        self.choices.iter().map(|choice| choice.filler.text(0..choice.output_tokens)).collect()
    }
}

fn parse_string(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_default()
}
