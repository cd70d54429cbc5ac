//! What requests and responses may hold beside text: media, calls of tools, events without a token, and engines that
//! differ from the usual one.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "test code: what is not there fails the test"
)]

mod client;

use client::{get, open, post};
use serde_json::{Value, json};
use std::time::Duration;
use warmpath_engine::{EngineServer, Opening, ServerConfig};

const CHAT: &str = "/v1/chat/completions";

/// The same question with an image in each protocol that takes some.
fn with_image(data: &str) -> [(&'static str, Value, &'static str); 3] {
    let url = format!("data:image/png;base64,{data}");
    let source = json!({"type": "base64", "media_type": "image/png", "data": data});
    let user = |part: Value| json!([{"role": "user", "content": [part]}]);
    let chat =
        json!({"messages": user(json!({"type": "image_url", "image_url": {"url": url}})), "max_tokens": 2});
    let messages = json!({"messages": user(json!({"type": "image", "source": source})), "max_tokens": 2});
    let responses =
        json!({"input": user(json!({"type": "input_image", "image_url": url})), "max_output_tokens": 2});
    [
        (CHAT, chat, "/usage/prompt_tokens"),
        ("/v1/messages", messages, "/usage/input_tokens"),
        ("/v1/responses", responses, "/usage/input_tokens"),
    ]
}

#[tokio::test]
async fn an_image_is_its_tokens_and_not_its_bytes_in_every_protocol() {
    let engine = EngineServer::start(ServerConfig::instant()).await.unwrap();
    for (path, body, usage) in with_image(&"x".repeat(800_000)) {
        let reply = post(&engine, path, &body).await.json();
        let tokens = reply.pointer(usage).and_then(Value::as_u64).unwrap();
        assert!((1_200..1_230).contains(&tokens), "{path}: {tokens}");
    }
    let body = with_image(&"y".repeat(800_000))[0].1.clone();
    let cached = async || post(&engine, CHAT, &body).await.header("x-engine-cached-tokens").to_owned();
    assert_ne!(cached().await, "1200", "another image of the same size");
    assert!(cached().await.parse::<u64>().unwrap() > 1_150, "the same image again");
}

#[tokio::test]
async fn a_required_tool_is_called_in_every_protocol() {
    let engine = EngineServer::start(ServerConfig::instant()).await.unwrap();
    let user = json!([{"role": "user", "content": "Hi"}]);
    let chat = json!({
        "messages": user, "max_tokens": 3, "tool_choice": "required", "stream": true,
        "tools": [{"type": "function", "function": {"name": "look"}}],
    });
    let events = post(&engine, CHAT, &chat).await.events();
    let piece = |event: &Value| event["choices"][0]["delta"]["tool_calls"][0]["function"].clone();
    let arguments: String =
        events.iter().filter_map(|event| piece(event)["arguments"].as_str().map(str::to_owned)).collect();
    let words = serde_json::from_str::<Value>(&arguments).unwrap()["words"].as_str().unwrap().len();
    assert_eq!((&piece(&events[1])["name"], words), (&json!("look"), 12));
    assert_eq!(events[3]["choices"][0]["finish_reason"], "tool_calls");

    let messages = json!({
        "messages": user, "max_tokens": 3, "tool_choice": {"type": "any"}, "stream": true, "tools": [{"name": "look"}],
    });
    let events = post(&engine, "/v1/messages", &messages).await.events();
    let arguments: String =
        events.iter().filter_map(|event| event["delta"]["partial_json"].as_str()).collect();
    assert!(serde_json::from_str::<Value>(&arguments).unwrap()["words"].is_string(), "{arguments}");

    let mut responses = json!({
        "input": "Hi", "max_output_tokens": 3, "tool_choice": {"type": "function", "name": "look"},
        "tools": [{"type": "function", "name": "look"}], "stream": true,
    });
    let events = post(&engine, "/v1/responses", &responses).await.events();
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds[2..4], ["response.output_item.added", "response.function_call_arguments.delta"]);
    let numbers = events.iter().map(|event| event["sequence_number"].as_u64().unwrap());
    assert!(numbers.eq((0..).take(events.len())));
    responses["stream"] = false.into();
    assert_eq!(post(&engine, "/v1/responses", &responses).await.json()["output"][0]["type"], "function_call");
}

/// The first piece of a stream that never gets its first token.
async fn first_piece(config: ServerConfig, path: &str) -> String {
    let engine = EngineServer::start(ServerConfig { time_scale: 1e-6, ..config }).await.unwrap();
    let body = json!({
        "messages": [{"role": "user", "content": "Hi"}], "input": "Hi", "max_tokens": 2, "stream": true,
    });
    let mut stream = open(engine.addr(), path, body).await.unwrap();
    String::from_utf8(stream.piece().await.to_vec()).unwrap()
}

#[tokio::test]
async fn what_precedes_the_first_token_can_come_at_once() {
    let usual = ServerConfig::default;
    assert!(first_piece(usual(), "/v1/responses").await.contains("response.in_progress"), "as vLLM does");
    let at_once = ServerConfig { opening: Opening::AtOnce, ..usual() };
    assert!(first_piece(at_once.clone(), CHAT).await.contains(r#""role":"assistant""#));
    assert!(first_piece(at_once, "/v1/messages").await.contains("message_start"));
    let comments = ServerConfig { comment_interval: Some(Duration::from_millis(1)), ..usual() };
    assert_eq!(first_piece(comments, CHAT).await, ": keep-alive\n\n");
}

#[tokio::test]
async fn an_engine_without_prefix_caching_finds_nothing() {
    let engine =
        EngineServer::start(ServerConfig { prefix_caching: false, ..ServerConfig::instant() }).await.unwrap();
    let body = json!({"prompt": "abcd".repeat(100), "max_tokens": 2});
    for _ in 0..2 {
        assert_eq!(post(&engine, "/v1/completions", &body).await.header("x-engine-cached-tokens"), "0");
    }
    assert!(get(&engine, "/metrics").await.text().contains("enable_prefix_caching=\"False\""));
}
