//! Requests to the gateway, and what it says of its decisions.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use warmpath_http::{Client, Connection, Response};

/// Asks the filter where a request would go instead of sending it there.
pub(crate) const EXPLAIN: (&str, &str) = ("x-warmpath-explain", "1");
/// The path of all requests here that are not about paths.
pub(crate) const PATH: &str = "/v1/completions";

const JSON: (&str, &str) = ("content-type", "application/json");
/// Text of a prompt: several cells of 256 bytes, so that a match is not chance.
const PROMPT_BYTES: usize = 2_048;

/// A prompt that has its first cell, and so all of them, in common with no other topic's.
pub(crate) fn prompt(topic: &str) -> String {
    format!("{topic} ").repeat(PROMPT_BYTES / (topic.len() + 1))
}

/// A request for a short answer.
pub(crate) fn completion(model: &str, prompt: &str) -> Value {
    json!({ "model": model, "prompt": prompt, "max_tokens": 4 })
}

/// Who answered.
pub(crate) fn engine_of(response: &Response) -> &str {
    response.header("x-engine").unwrap_or_else(|| panic!("{}: {}", response.status, response.text()))
}

/// How much of the prompt the engine had in its cache.
pub(crate) fn cached_tokens(response: &Response) -> u64 {
    response.header("x-engine-cached-tokens").unwrap().parse().unwrap()
}

/// One candidate of an explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) endpoint: String,
    pub(crate) cells: u64,
    pub(crate) requests: u64,
}

/// Sends an ordinary request over one connection.
pub(crate) async fn send(connection: &mut Connection, body: &Value) -> Response {
    connection.send(Method::POST, PATH, &[JSON], body.to_string().into()).await.unwrap()
}

/// The candidates for a request, best first; `None` while the filter has none. Fails if the connection has ended: whoever asks again
/// would wait for what cannot come.
pub(crate) async fn explain(connection: &mut Connection, body: &Value) -> Option<Vec<Candidate>> {
    let body = Bytes::from(body.to_string());
    candidates(&connection.send(Method::POST, PATH, &[JSON, EXPLAIN], body).await.unwrap())
}

/// The same over any connection.
pub(crate) async fn explain_anywhere(client: &Client, body: &Value) -> Option<Vec<Candidate>> {
    candidates(&client.post_json_with(PATH, &[EXPLAIN], body).await.ok()?)
}

fn candidates(response: &Response) -> Option<Vec<Candidate>> {
    let explanation = response.json();
    let candidate = |candidate: &Value| {
        Some(Candidate {
            endpoint: candidate.get("endpoint")?.as_str()?.to_owned(),
            cells: candidate.get("cells")?.as_u64()?,
            requests: candidate.get("requests")?.as_u64()?,
        })
    };
    explanation.get("candidates")?.as_array()?.iter().map(candidate).collect()
}
