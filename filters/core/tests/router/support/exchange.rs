//! Requests as clients send them, and what the filter made of them.

use crate::support::{Stream, Vm};
use serde_json::{Value, json};
use warmpath_core::router::DESTINATION_HEADER;

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

/// Sends a POST with a whole body; the filter passes it on, or responds itself.
pub(crate) fn post(vm: &Vm, path: &str, body: &str) -> Stream {
    let mut stream = vm.request();
    let headers = [(":method", "POST"), (":path", path), ("content-type", "application/json")];
    stream.headers(&headers, false);
    stream.body(body.as_bytes(), true);
    stream
}

/// Sends a GET.
pub(crate) fn get(vm: &Vm, path: &str) -> Stream {
    let mut stream = vm.request();
    stream.headers(&[(":method", "GET"), (":path", path)], true);
    stream
}

/// Sends a chat.
pub(crate) fn serve(vm: &Vm, body: &Value) -> Stream {
    post(vm, "/v1/chat/completions", &body.to_string())
}

/// Ends every stream, whatever came of it.
pub(crate) fn finish_all(streams: impl IntoIterator<Item = Stream>) {
    for stream in streams {
        stream.finish();
    }
}

/// The endpoints that the request was sent with, best first.
pub(crate) fn destinations(stream: &Stream) -> Vec<String> {
    let list = stream.request_headers.get(DESTINATION_HEADER).expect("the request went on");
    list.split(',').map(str::to_owned).collect()
}

/// The endpoint that the request was sent to.
pub(crate) fn chosen(stream: &Stream) -> String {
    destinations(stream).swap_remove(0)
}

/// Requests the decision on a chat instead of its response.
pub(crate) fn explain(vm: &Vm, body: &Value) -> Explanation {
    let mut stream = vm.request();
    let headers = [(":method", "POST"), (":path", "/v1/chat/completions"), ("x-warmpath-explain", "1")];
    stream.headers(&headers, false);
    stream.body(body.to_string().as_bytes(), true);
    let response = stream.reply.take().expect("the filter responds itself");
    assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(&response.body));
    stream.finish();
    Explanation(serde_json::from_slice(&response.body).expect("it responds with JSON"))
}

// === impl Explanation ===

impl Explanation {
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
