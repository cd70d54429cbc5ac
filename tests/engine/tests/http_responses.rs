//! The server over real sockets: every protocol, streamed and whole, and the usage that it reports.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: what is not there fails the test"
)]

mod client;

use client::{eventually, get, open, post};
use http::Method;
use serde_json::{Value, json};
use warmpath_engine::{EngineServer, Params, Preset, ServerConfig};
use warmpath_http::{Connection, JSON};

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";

async fn instant() -> EngineServer {
    EngineServer::start(ServerConfig::instant()).await.unwrap()
}

/// A text of `tokens` tokens.
fn text(tokens: usize) -> String {
    "abcd".repeat(tokens)
}

#[tokio::test]
async fn a_completion_reports_its_usage_and_its_engine() {
    let engine = instant().await;
    let body = json!({"model": "sim", "prompt": text(100), "max_tokens": 5});
    let first = post(&engine, COMPLETIONS, &body).await;
    let second = post(&engine, COMPLETIONS, &body).await;
    assert_eq!(first.json()["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
    let usage = json!({
        "prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105,
        "prompt_tokens_details": {"cached_tokens": 96},
    });
    assert_eq!(second.json()["usage"], usage);
    assert_eq!(second.json()["choices"][0]["finish_reason"], "length");
    assert_eq!(first.json()["choices"], second.json()["choices"], "equal prompts get equal responses");
    let headers = ["x-engine", "x-engine-prompt-tokens", "x-engine-cached-tokens"];
    assert_eq!(headers.map(|name| second.header(name)), ["engine-0", "100", "96"]);
}

#[tokio::test]
async fn prompts_come_as_strings_and_as_tokens() {
    let engine = instant().await;
    let token = u32::from_le_bytes(*b"abcd");
    let prompts = [
        (json!(text(40)), 1),
        (json!([text(40), text(40)]), 2),
        (json!(vec![token; 40]), 1),
        (json!([vec![token; 40], vec![token; 40]]), 2),
    ];
    let mut texts = Vec::new();
    for (prompt, count) in prompts {
        let reply = post(&engine, COMPLETIONS, json!({"prompt": prompt, "max_tokens": 3})).await.json();
        let choices = reply["choices"].as_array().unwrap();
        assert_eq!((choices.len(), &reply["usage"]["prompt_tokens"]), (count, &json!(40 * count)));
        texts.extend(choices.iter().map(|choice| choice["text"].clone()));
    }
    assert!(texts.windows(2).all(|pair| pair[0] == pair[1]), "{texts:?}");
}

#[tokio::test]
async fn every_turn_of_a_conversation_finds_the_turns_before() {
    let engine = instant().await;
    let tools = json!([{"type": "function", "function": {"name": "look", "parameters": {}}}]);
    let mut messages = vec![
        json!({"role": "system", "content": text(200)}),
        json!({"role": "user", "content": [{"type": "text", "text": "What is there?"}]}),
    ];
    let mut known_tokens = 0;
    for turn in 0..4 {
        let body = json!({"model": "sim", "messages": messages, "tools": tools, "max_tokens": 50});
        let reply = post(&engine, CHAT, body).await.json();
        let prompt = reply["usage"]["prompt_tokens"].as_u64().unwrap();
        let cached = reply["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
        // All computed tokens of the turn before, to the last full block.
        assert_eq!(cached, known_tokens / 16 * 16, "turn {turn}");
        known_tokens = prompt + 49;
        messages.push(reply["choices"][0]["message"].clone());
        messages.push(json!({"role": "user", "content": format!("And {turn}?")}));
    }
}

#[tokio::test]
async fn models_adapters_and_salts_share_nothing() {
    let config = ServerConfig { adapters: vec!["lora".to_owned()], ..ServerConfig::instant() };
    let engine = EngineServer::start(config).await.unwrap();
    for body in [
        json!({"model": "sim", "prompt": text(64)}),
        json!({"model": "lora", "prompt": text(64)}),
        json!({"model": "sim", "prompt": text(64), "cache_salt": "tenant"}),
    ] {
        for cached in [0, 48] {
            let reply = post(&engine, COMPLETIONS, &body).await.json();
            assert_eq!(reply["usage"]["prompt_tokens_details"]["cached_tokens"], cached, "{body}");
        }
    }
    let models = get(&engine, "/v1/models").await.json();
    assert_eq!((&models["data"][0]["id"], &models["data"][1]["parent"]), (&json!("sim"), &json!("sim")));
}

#[tokio::test]
async fn a_chat_stream_carries_the_same_text_as_a_whole_response() {
    let config = ServerConfig { tokens_per_chunk: 4, ..ServerConfig::instant() };
    let engine = EngineServer::start(config).await.unwrap();
    let mut body = json!({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 10});
    let whole = post(&engine, CHAT, &body).await.json();
    body["stream"] = true.into();
    body["stream_options"] = json!({"include_usage": true});
    let reply = post(&engine, CHAT, &body).await;
    assert_eq!(reply.header("content-type"), "text/event-stream; charset=utf-8");
    assert_eq!(reply.header("x-engine-prompt-tokens"), whole["usage"]["prompt_tokens"].to_string());
    assert!(reply.text().ends_with("data: [DONE]\n\n"));
    let events = reply.events();
    let pieces: Vec<&str> =
        events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(pieces.iter().map(|piece| piece.len() / 4).collect::<Vec<_>>(), [0, 1, 4, 4, 1]);
    assert_eq!(pieces.concat(), whole["choices"][0]["message"]["content"].as_str().unwrap());
    assert_eq!(events[4]["choices"][0]["finish_reason"], "length");
    assert_eq!((&events[5]["choices"], &events[5]["usage"]), (&json!([]), &whole["usage"]));
}

#[tokio::test]
async fn a_stream_without_the_option_has_no_usage() {
    let engine = instant().await;
    let reply =
        post(&engine, COMPLETIONS, json!({"prompt": ["a", "b"], "max_tokens": 2, "stream": true})).await;
    let events = reply.events();
    assert!(events.iter().all(|event| event.get("usage").is_none()));
    let indices: Vec<_> = events.iter().map(|event| event["choices"][0]["index"].as_u64().unwrap()).collect();
    assert_eq!(indices.iter().filter(|index| **index == 1).count(), 2, "{indices:?}");
}

#[tokio::test]
async fn messages_use_the_format_of_anthropic() {
    let engine = instant().await;
    let mut body = json!({
        "model": "sim", "max_tokens": 6, "system": [{"type": "text", "text": text(100)}],
        "messages": [{"role": "user", "content": "Hi"}],
    });
    let counted = post(&engine, "/v1/messages/count_tokens", &body).await.json();
    post(&engine, "/v1/messages", &body).await;
    let whole = post(&engine, "/v1/messages", &body).await.json();
    let usage = &whole["usage"];
    let parts = ["input_tokens", "cache_read_input_tokens"].map(|name| usage[name].as_u64().unwrap());
    assert_eq!(Some(parts.iter().sum()), counted["input_tokens"].as_u64());
    assert!(parts[1] >= 96 && whole["stop_reason"] == "max_tokens");
    body["stream"] = true.into();
    let events = post(&engine, "/v1/messages", &body).await.events();
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds[..2], ["message_start", "content_block_start"]);
    assert_eq!(kinds[2..8], ["content_block_delta"; 6]);
    assert_eq!(kinds[8..], ["content_block_stop", "message_delta", "message_stop"]);
    let streamed: String = events.iter().filter_map(|event| event["delta"]["text"].as_str()).collect();
    assert_eq!(streamed, whole["content"][0]["text"].as_str().unwrap());
    assert_eq!(events[0]["message"]["usage"]["cache_read_input_tokens"], parts[1]);
}

#[tokio::test]
async fn responses_use_the_format_of_responses() {
    let engine = instant().await;
    let mut body = json!({
        "model": "sim", "instructions": text(100), "max_output_tokens": 3,
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}],
    });
    post(&engine, "/v1/responses", &body).await;
    let whole = post(&engine, "/v1/responses", &body).await.json();
    assert!(whole["usage"]["input_tokens_details"]["cached_tokens"].as_u64() >= Some(96));
    body["stream"] = true.into();
    let events = post(&engine, "/v1/responses", &body).await.events();
    let numbers: Vec<_> = events.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert!(numbers.iter().copied().eq(0..11), "{numbers:?}");
    let text: String = events.iter().filter_map(|event| event["delta"].as_str()).collect();
    assert_eq!(text, whole["output"][0]["content"][0]["text"].as_str().unwrap());
    let last = &events[10];
    assert_eq!((&last["type"], &last["response"]["usage"]), (&json!("response.completed"), &whole["usage"]));
}

#[tokio::test]
async fn errors_have_the_form_of_vllm() {
    let engine = instant().await;
    let error = |reply: &client::Reply| -> (u16, Value) { (reply.status.as_u16(), reply.json()) };
    let (status, body) = error(&post(&engine, CHAT, "{").await);
    assert_eq!((status, &body["error"]["type"]), (400, &json!("Bad Request")));
    let (status, body) = error(&post(&engine, COMPLETIONS, json!({"model": "no", "prompt": "a"})).await);
    assert_eq!((status, &body["error"]["code"]), (404, &json!(404)));
    assert_eq!(body["error"]["message"], "The model `no` does not exist.");
    let (status, body) = error(&post(&engine, "/v1/messages", json!({"model": "no", "messages": []})).await);
    assert_eq!((status, &body["error"]["type"]), (404, &json!("not_found_error")));
    assert_eq!(error(&get(&engine, CHAT).await), (405, json!({"detail": "Method Not Allowed"})));
    assert_eq!(error(&get(&engine, "/nowhere").await), (404, json!({"detail": "Not Found"})));
    let (status, _) =
        error(&post(&engine, COMPLETIONS, json!({"prompt": "a", "max_tokens": 1_000_000})).await);
    assert_eq!(status, 400, "it can never fit");
    assert_eq!(engine.state().requests[COMPLETIONS], 2);
}

#[tokio::test]
async fn a_prompt_can_be_fetched_and_sent_as_tokens() {
    let engine = instant().await;
    let prompt = json!({"model": "sim", "prompt": "abcdefgh", "max_tokens": 2});
    let chat = json!({"messages": [{"role": "user", "content": text(100)}], "max_completion_tokens": 2});
    let ids = json!([u32::from_le_bytes(*b"abcd"), u32::from_le_bytes(*b"efgh")]);
    let tokenized = post(&engine, "/tokenize", &prompt).await.json();
    assert_eq!((&tokenized["tokens"], &tokenized["count"]), (&ids, &json!(2)));
    let rendered = post(&engine, "/v1/completions/render", &prompt).await.json();
    assert_eq!(rendered, json!([{"token_ids": ids}]));
    let rendered = post(&engine, "/v1/chat/completions/render", &chat).await.json();
    assert_eq!(post(&engine, "/tokenize", &chat).await.json()["tokens"], rendered["token_ids"]);
    let asked = post(&engine, CHAT, &chat).await.json();
    assert_eq!(asked["usage"]["completion_tokens"], 2, "the length may come under its newer name");
    let in_tokens = json!({"prompt": rendered["token_ids"], "max_tokens": 2});
    let again = post(&engine, COMPLETIONS, in_tokens).await.json();
    assert_eq!(again["usage"]["prompt_tokens"], asked["usage"]["prompt_tokens"]);
    assert!(again["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64() >= Some(96), "the same prompt");
    assert!(get(&engine, "/version").await.json()["version"].is_string());
}

#[tokio::test]
async fn unknown_fields_are_ignored() {
    let engine = instant().await;
    let body = json!({"prompt": "a", "max_tokens": 1, "ignore_eos": true, "rid": null, "lora_path": [1]});
    assert_eq!(post(&engine, COMPLETIONS, body).await.status.as_u16(), 200);
}

#[tokio::test]
async fn the_request_id_is_echoed_and_names_the_response() {
    let engine = instant().await;
    let body = json!({"prompt": "a", "max_tokens": 1}).to_string();
    let mut connection = Connection::open(engine.addr()).await.unwrap();
    let headers = [JSON, ("x-request-id", "a\"b")];
    let reply = connection.send(Method::POST, COMPLETIONS, &headers, body.into()).await.unwrap();
    assert_eq!((reply.header("x-request-id"), &reply.json()["id"]), (Some("a\"b"), &json!("cmpl-a\"b")));
}

/// An engine that decodes one request without an end.
async fn busy(config: ServerConfig) -> (EngineServer, client::Open) {
    let engine = EngineServer::start(config).await.unwrap();
    let body = json!({"prompt": text(1_000), "max_tokens": 100_000, "stream": true});
    let stream = open(engine.addr(), COMPLETIONS, body).await.unwrap();
    (engine, stream)
}

#[tokio::test]
async fn a_stream_begins_with_its_first_token() {
    let (engine, mut stream) = busy(ServerConfig { time_scale: 10.0, ..ServerConfig::default() }).await;
    assert_eq!(stream.response.headers["x-engine-cached-tokens"], "0");
    assert!(stream.piece().await.starts_with(b"data: {"));
    assert_eq!(engine.state().running, 1);
}

#[tokio::test]
async fn a_client_that_disconnects_aborts_its_request() {
    let (engine, stream) = busy(ServerConfig::default()).await;
    let whole = json!({"prompt": text(1_000), "max_tokens": 100_000});
    let addr = engine.addr();
    let waiting = tokio::spawn(async move { open(addr, COMPLETIONS, whole).await.map(|_| ()) });
    eventually(&engine, |state| state.running == 2).await;
    drop(stream);
    waiting.abort();
    let state = eventually(&engine, |state| state.aborted == 2).await;
    assert_eq!((state.running, state.blocks_in_use), (0, 0));
}

#[tokio::test]
async fn a_full_queue_responds_with_503() {
    let mut params = Params::new(Preset::Qwen3On2);
    params.running_max = 1;
    let config = ServerConfig { queued_requests_max: Some(1), params, ..ServerConfig::default() };
    let (engine, _stream) = busy(config).await;
    let body = json!({"prompt": "a", "max_tokens": 1});
    let addr = engine.addr();
    let queued = body.clone();
    let queued = tokio::spawn(async move { open(addr, COMPLETIONS, queued).await.map(|_| ()) });
    eventually(&engine, |state| state.waiting == 1).await;
    let reply = post(&engine, COMPLETIONS, &body).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]["code"]), (503, &json!(503)));
    assert_eq!(engine.state().rejected, 1);
    queued.abort();
}

#[tokio::test]
async fn metrics_have_the_names_of_vllm() {
    let engine = instant().await;
    for _ in 0..2 {
        post(&engine, COMPLETIONS, json!({"prompt": text(100), "max_tokens": 5})).await;
    }
    let page = get(&engine, "/metrics").await;
    let value = |start: &str| {
        let line = page.text().lines().find(|line| line.starts_with(start));
        let line = line.unwrap_or_else(|| panic!("no {start} in {}", page.text()));
        line.rsplit(' ').next().unwrap().to_owned()
    };
    let labels = r#"{engine="0",model_name="sim"}"#;
    for (name, expected) in [
        ("num_requests_running", "0.0"),
        ("num_requests_waiting", "0.0"),
        ("kv_cache_usage_perc", "0.0"),
        ("prefix_cache_queries_total", "200.0"),
        ("prefix_cache_hits_total", "96.0"),
        ("prompt_tokens_total", "200.0"),
        ("generation_tokens_total", "10.0"),
        ("num_preemptions_total", "0.0"),
        ("time_to_first_token_seconds_count", "2.0"),
        ("inter_token_latency_seconds_count", "8.0"),
        ("request_time_per_output_token_seconds_count", "2.0"),
        ("e2e_request_latency_seconds_count", "2.0"),
    ] {
        assert_eq!(value(&format!("vllm:{name}{labels}")), expected, "{name}");
    }
    assert_eq!(value(r#"vllm:request_success_total{finished_reason="length""#), "2.0");
    assert_eq!(value("vllm:cache_config_info{block_size=\"16\""), "1.0");
    assert!(page.text().contains("num_gpu_blocks=\"19208\""));
    assert_eq!(get(&engine, "/health").await.status, 200);
}
