//! Requests that two engines serve together as TensorRT-LLM's do: the context first, then the generation.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: what is not there fails the test"
)]

mod client;

use client::{essence, eventually, legs, post};
use serde_json::{Value, json};
use warmpath_engine::{EngineServer, Fault, ServerConfig, Transfer, TransferProtocol};

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";

async fn start(name: &str) -> EngineServer {
    let transfer = Some(Transfer::new(TransferProtocol::TensorRt));
    let config = ServerConfig { name: name.to_owned(), transfer, ..ServerConfig::instant() };
    EngineServer::start(config).await.unwrap()
}

fn prompt() -> Value {
    json!({"prompt": format!("{}e", "abcd".repeat(100)), "max_tokens": 8})
}

/// The context's response.
async fn context(engine: &EngineServer, path: &str, body: &Value) -> Value {
    let mut body = body.clone();
    body["disaggregated_params"] = json!({"request_type": "context_only"});
    body["stream"] = json!(false);
    let reply = post(engine, path, &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// The generation's request, as the filter makes it of the context's response.
fn generation(path: &str, body: &Value, context: &Value) -> Value {
    let mut body = body.clone();
    body["disaggregated_params"] = context["choices"][0]["disaggregated_params"].clone();
    body["disaggregated_params"]["request_type"] = json!("generation_only");
    let tokens = if path == COMPLETIONS { "prompt" } else { "prompt_token_ids" };
    body[tokens] = context["prompt_token_ids"].clone();
    body
}

#[tokio::test]
async fn a_generation_has_the_response_of_the_whole_request() {
    let (p, d, whole) = (start("context").await, start("generation").await, start("whole").await);
    let user = json!([{"role": "user", "content": "Why is the sky blue?"}]);
    let tool = json!([{"type": "function", "function": {"name": "look"}}]);
    let requests = [
        (COMPLETIONS, prompt()),
        (CHAT, json!({"messages": user, "max_completion_tokens": 9})),
        (CHAT, json!({"messages": user, "tools": tool, "tool_choice": "required", "max_tokens": 5})),
    ];
    for (path, mut body) in requests {
        for stream in [false, true] {
            body["stream"] = json!(stream);
            let context = context(&p, path, &body).await;
            let split = post(&d, path, generation(path, &body, &context)).await;
            assert_eq!(essence(&split), essence(&post(&whole, path, &body).await), "{path} stream={stream}");
        }
    }
    assert_eq!((legs(&p).prefills, legs(&p).prompts_handed_over, legs(&p).prompts_held), (6, 6, 0));
    assert_eq!((legs(&d).decodes, legs(&d).prompts_fetched, legs(&whole).whole), (6, 6, 6));
}

#[tokio::test]
async fn a_context_hands_over_its_first_token_and_the_prompts_tokens() {
    let p = start("context").await;
    let reply = context(&p, COMPLETIONS, &prompt()).await;
    assert_eq!(reply["prompt_token_ids"].as_array().unwrap().len(), 101);
    let choice = &reply["choices"][0];
    assert_eq!(
        (&choice["finish_reason"], &reply["usage"]["completion_tokens"]),
        (&json!("not_finished"), &json!(1))
    );
    let params = &choice["disaggregated_params"];
    assert_eq!(params["request_type"], "context_only");
    assert_eq!(params["first_gen_tokens"].as_array().unwrap().len(), 1);
    assert!(params["ctx_request_id"].is_u64() && params["encoded_opaque_state"].is_string(), "{params}");
    let one = context(&p, COMPLETIONS, &json!({"prompt": "abcd", "max_tokens": 1})).await;
    assert_eq!(one["choices"][0]["finish_reason"], "length");
}

#[tokio::test]
async fn a_context_that_ends_by_itself_is_complete() {
    let transfer = Some(Transfer::new(TransferProtocol::TensorRt));
    let config = ServerConfig { transfer, default_output_tokens: 1, ..ServerConfig::instant() };
    let p = EngineServer::start(config).await.unwrap();
    let reply = context(&p, COMPLETIONS, &json!({"prompt": "abcd"})).await;
    assert_eq!(reply["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn what_the_protocol_does_not_know_is_refused() {
    let p = start("context").await;
    let with = |params: Value, stream: bool| {
        let mut body = prompt();
        body["disaggregated_params"] = params;
        body["stream"] = json!(stream);
        body
    };
    for body in [
        with(json!({"request_type": "context_only"}), true),
        with(json!({"request_type": "contexts"}), false),
        with(json!({"request_type": "generation_only"}), false),
        with(
            json!({"request_type": "generation_only", "ctx_request_id": 1, "encoded_opaque_state": "x"}),
            false,
        ),
    ] {
        let reply = post(&p, COMPLETIONS, &body).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["object"]), (400, &json!("error")), "{body}");
    }
    let mut changed = generation(CHAT, &json!({"messages": []}), &context(&p, COMPLETIONS, &prompt()).await);
    changed["messages"] = json!([{"role": "user", "content": "another"}]);
    assert_eq!(post(&p, CHAT, changed).await.status, 400, "the tokens of another prompt");
}

#[tokio::test]
async fn a_generation_without_its_context_fails() {
    let (p, d) = (start("context").await, start("generation").await);
    let used = generation(COMPLETIONS, &prompt(), &context(&p, COMPLETIONS, &prompt()).await);
    assert_eq!(post(&d, COMPLETIONS, &used).await.status, 200);
    assert_eq!(post(&d, COMPLETIONS, &used).await.status, 500, "it is read once");
    let mut changed = generation(COMPLETIONS, &prompt(), &context(&p, COMPLETIONS, &prompt()).await);
    changed["disaggregated_params"]["first_gen_tokens"] = json!([1]);
    assert_eq!(post(&d, COMPLETIONS, &changed).await.status, 500, "parameters of no response");
    eventually(&p, |state| state.legs.prompts_given_up == 1).await;
    let dead = generation(COMPLETIONS, &prompt(), &context(&p, COMPLETIONS, &prompt()).await);
    p.fault(Fault::Die).await;
    assert_eq!(post(&d, COMPLETIONS, &dead).await.status, 500);
    assert_eq!(legs(&d).fetches_failed, 3);
    assert_eq!(post(&d, COMPLETIONS, prompt()).await.status, 200, "it can compute prompts itself");
}
