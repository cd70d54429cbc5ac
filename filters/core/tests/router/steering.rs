//! Fields and headers with which a client could steer what engines do with each other's KV. They never reach an engine.

use crate::support::{Host, chat, chat_with, counted, post, static_config, vm};
use serde_json::{Value, json};
use warmpath_core::limits::BODY_BYTES_MAX;
use warmpath_core::wire::{Pool, Rewrite, RewriteTarget};

const PATH: &str = "/v1/chat/completions";

#[test]
fn what_would_end_an_engine_is_removed_and_the_rest_is_the_clients() {
    let host = Host::default();
    let vm = vm(&host, &static_config(2));
    let body = r#"{"model":"llama", "messages":[{"role":"user","content":"hi"}],"kv_transfer_params":{"do_remote_prefill":true},"n":1.0}"#;
    let mut stream = vm.request();
    let length = body.len().to_string();
    stream.headers(&[(":method", "POST"), (":path", PATH), ("content-length", &length)], false);
    stream.body(body.as_bytes(), true);
    let expected = body.replace(r#""kv_transfer_params":{"do_remote_prefill":true},"#, "");
    assert_eq!(stream.edited.as_deref().map(String::from_utf8_lossy).unwrap(), expected);
    assert_eq!(stream.request_headers["content-length"], expected.len().to_string());
    stream.complete();
    assert_eq!(counted(&host, &[&vm], "warmpath.transfer_fields_removed"), 1);
}

#[test]
fn the_fields_are_found_in_every_format_and_in_a_prompt_that_cannot_be_read() {
    let host = Host::default();
    let vm = vm(&host, &static_config(2));
    let mut sent = 0;
    for (path, body) in [
        ("/v1/completions", json!({"prompt": "hi", "bootstrap_host": "10.0.0.9", "bootstrap_room": 1})),
        ("/v1/responses", json!({"input": "hi", "kv_transfer_params": {}})),
        ("/v1/messages", json!({"messages": [], "max_tokens": 1, "kv_transfer_params": {}})),
        ("/generate", json!({"text": "hi", "sampling_params": {"extra_args": {"kv_transfer_params": {}}}})),
        ("/v1/embeddings", json!({"input": "hi", "disaggregated_params": {}})),
        ("/score", json!({"text_1": "a", "text_2": "b", "data_parallel_rank": 1})),
        ("/whatever", json!({"vllm_xargs": {"kv_transfer_params": "x"}})),
        // The engine decodes the path and finds its `/generate`.
        ("/gener%61te", json!({"text": "hi", "sampling_params": {"extra_args": {"kv_transfer_params": {}}}})),
        (PATH, json!({"messages": "no list", "do_remote_prefill": true})),
        (PATH, json!({"messages": "no list", "sampling_params": {"extra_args": {"kv_transfer_params": 1}}})),
    ] {
        let stream = post(&vm, path, &body.to_string());
        let edited = stream.edited.as_deref().unwrap_or_else(|| panic!("{path}: {body} reached an engine"));
        let edited: Value = serde_json::from_slice(edited).unwrap();
        for field in ["kv_transfer", "bootstrap", "disaggregated", "parallel_rank", "do_remote"] {
            assert!(!edited.to_string().contains(field), "{path}: {edited}");
        }
        stream.finish();
        sent += 1;
    }
    assert_eq!(counted(&host, &[&vm], "warmpath.transfer_fields_removed"), sent);
}

/// Engines do not decompress: they ignore the header, and parse what it was to hide.
#[test]
fn the_fields_are_found_in_json_that_claims_to_be_compressed() {
    let host = Host::default();
    let vm = vm(&host, &static_config(2));
    let text = r#"{"do_remote_prefill":true,"model":"llama","messages":[]}"#;
    let utf16 = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for body in [text.as_bytes().to_vec(), utf16] {
        let mut stream = vm.request();
        stream.headers(&[(":method", "POST"), (":path", PATH), ("content-encoding", "gzip")], false);
        stream.body(&body, true);
        assert_eq!(stream.edited.as_deref(), Some(br#"{"model":"llama","messages":[]}"#.as_slice()));
        stream.complete();
    }
}

#[test]
fn a_body_without_such_fields_stays_as_it_is() {
    let host = Host::default();
    let vm = vm(&host, &static_config(2));
    let mut body = chat_with("kv_transfer_params", &json!({"vllm_xargs": {"mine": 1}}));
    body["messages"][0]["kv_transfer_params"] = json!({});
    let stream = post(&vm, PATH, &body.to_string());
    assert_eq!(stream.edited, None);
    stream.complete();
    assert_eq!(counted(&host, &[&vm], "warmpath.transfer_fields_removed"), 0);
}

#[test]
fn a_model_and_such_fields_are_edited_in_one() {
    let host = Host::default();
    let mut config = static_config(2);
    let targets = vec![RewriteTarget { model: "llama".to_owned(), weight: 1 }];
    config.pools.pools[0].rewrites = vec![Rewrite { model: "chat".to_owned(), targets }];
    let vm = vm(&host, &config);
    let stream = post(&vm, PATH, r#"{"routed_dp_rank":1,"model":"chat","messages":[]}"#);
    assert_eq!(stream.edited.as_deref(), Some(br#"{"model":"llama","messages":[]}"#.as_slice()));
    stream.complete();
}

#[test]
fn a_body_that_is_too_large_to_be_edited_is_refused() {
    let host = Host::default();
    let mut config = static_config(1);
    config.pools.pools.push(Pool { name: "second".to_owned(), ..Pool::default() });
    let vm = vm(&host, &config);
    let mut body = chat("hi");
    body["image"] = "x".repeat(BODY_BYTES_MAX).into();
    body["sampling_params"] = json!({"max_tokens": 1, "stop": ["kv_transfer_params"]});
    let stream = post(&vm, PATH, &body.to_string());
    assert!(stream.reply.is_none());
    stream.complete();
    let escaped: Vec<String> = "do_remote_prefill".bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    let fields = [
        r#""kv_transfer_params":{"do_remote_prefill":true}"#.to_owned(),
        format!("\"{}\":true", escaped.concat()),
        r#""sampling_params" : {"n":1,"extra_args" : {"kv_transfer_params":{}}}"#.to_owned(),
    ];
    for field in &fields {
        let body = body.to_string().replacen('{', &format!("{{{field},"), 1);
        let mut stream = post(&vm, PATH, &body);
        let reply = stream.reply.take().unwrap_or_else(|| panic!("{field} reached an engine"));
        assert_eq!(reply.status, 400);
        let error: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(error["error"]["code"], "transfer_fields");
        stream.finish();
    }
    assert_eq!(counted(&host, &[&vm], "warmpath.rejected.transfer_fields"), 3);
}
