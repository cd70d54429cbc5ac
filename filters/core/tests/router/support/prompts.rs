//! Prompts as clients send them, and decisions as they are shown. The tests of the built filter include this file.

use serde_json::{Value, json};

/// Headers of a JSON response.
pub(crate) const JSON: [(&str, &str); 2] = [(":status", "200"), ("content-type", "application/json")];
/// Headers of a streamed response.
pub(crate) const EVENT_STREAM: [(&str, &str); 2] =
    [(":status", "200"), ("content-type", "text/event-stream")];

/// A decision as `x-warmpath-explain` shows it.
pub(crate) struct Explanation(Value);

/// About `bytes` bytes of prompt that begins like no other topic's.
pub(crate) fn text(topic: &str, bytes: usize) -> String {
    format!("{topic} said: ").repeat(bytes / (topic.len() + 7) + 1)
}

/// A chat of one message.
pub(crate) fn chat(content: &str) -> Value {
    json!({"model": "llama", "messages": [{"role": "user", "content": content}]})
}

/// The same with further fields.
pub(crate) fn chat_with(content: &str, fields: &Value) -> Value {
    let mut body = chat(content);
    let (Some(body_fields), Some(fields)) = (body.as_object_mut(), fields.as_object()) else { return body };
    body_fields.extend(fields.clone());
    body
}

// === impl Explanation ===

impl Explanation {
    /// Reads what the router responds with.
    pub(crate) fn of_response(body: &[u8]) -> Self {
        Self(serde_json::from_slice(body).expect("it responds with JSON"))
    }

    /// A field of the decision.
    pub(crate) fn field(&self, name: &str) -> &Value {
        self.0.get(name).expect("the field is there")
    }

    /// Addresses, best first.
    pub(crate) fn candidates(&self) -> Vec<String> {
        self.each().iter().map(|candidate| candidate["endpoint"].as_str().unwrap().to_owned()).collect()
    }

    /// A field of one candidate.
    pub(crate) fn of(&self, endpoint: &str, name: &str) -> &Value {
        let candidate = self.each().iter().find(|candidate| candidate["endpoint"] == endpoint);
        &candidate.expect("the endpoint is a candidate")[name]
    }

    /// A count, added up over all candidates.
    pub(crate) fn sum(&self, name: &str) -> u64 {
        self.each().iter().map(|candidate| candidate[name].as_u64().unwrap()).sum()
    }

    /// The endpoints that hold some of the prompt.
    pub(crate) fn holders(&self) -> Vec<String> {
        let holds = |endpoint: &String| self.of(endpoint, "cells").as_u64() > Some(0);
        self.candidates().into_iter().filter(holds).collect()
    }

    fn each(&self) -> &[Value] {
        self.field("candidates").as_array().expect("candidates are a list")
    }
}
