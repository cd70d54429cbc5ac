//! What clients of every patched gateway must get.

use super::{MODEL, RunningGateway};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use warmpath_engine::Fault;
use warmpath_http::{Client, Response};

const PATH: &str = "/v1/completions";
const JSON: (&str, &str) = ("content-type", "application/json");
/// Conversations that are looked at, and those that may all have one engine by chance.
const CONVERSATIONS_MIN: usize = 6;
const CONVERSATIONS_MAX: usize = 60;
/// More than gateways buffer by default.
const LONG_BYTES: usize = 5 << 20;

fn engine_of(response: &Response) -> String {
    response
        .header("x-engine")
        .unwrap_or_else(|| panic!("{}: {}", response.status, response.text()))
        .to_owned()
}

fn completion(prompt: &str) -> Value {
    json!({ "model": MODEL, "prompt": prompt, "max_tokens": 4 })
}

/// Text that shares no cell with another topic's.
fn prompt(topic: &str) -> String {
    format!("{topic} ").repeat(400)
}

/// Each turn of a conversation goes where the turn before was computed. Equally good engines are left to chance: conversations
/// begin until two of them have one.
pub(crate) async fn conversations_stay_together(gateway: &RunningGateway, client: &Client) {
    let mut engines = BTreeSet::new();
    for conversation in 0..CONVERSATIONS_MAX {
        let topic = format!("topic {conversation}");
        let mut text = prompt(&topic);
        let mut before = None;
        for turn in 0..4 {
            let response = client.post_json(PATH, &completion(&text)).await.unwrap();
            assert_eq!(response.status, StatusCode::OK, "{}", response.text());
            let engine = engine_of(&response);
            assert_eq!(*before.get_or_insert(engine.clone()), engine, "{topic}, turn {turn}");
            let cached: u64 = response.header("x-engine-cached-tokens").unwrap().parse().unwrap();
            assert_eq!(cached > 200, turn > 0, "{topic}, turn {turn}: {cached}");
            text.push_str(&prompt(&format!("{topic} {turn}")));
        }
        engines.extend(before);
        if engines.len() > 1 && conversation + 1 >= CONVERSATIONS_MIN {
            return;
        }
    }
    panic!("all conversations are at one engine of {}", gateway.backends.engines.len());
}

/// Whoever chooses the engine.
pub(crate) async fn requests_pass(client: &Client) {
    let response = client.post_json(PATH, &completion(&prompt("whales"))).await.unwrap();
    assert_eq!(response.status, StatusCode::OK, "{}", response.text());
}

/// The same where no body is read: each session stays at an engine.
pub(crate) async fn sessions_stay_together(client: &Client) {
    let mut engines = Vec::new();
    for session in ["one", "two", "three", "four", "five", "six", "seven", "eight"] {
        let mut before = None;
        for turn in 0..4 {
            let headers = [("x-session-id", session)];
            let body = completion(&prompt(&format!("{session} {turn}")));
            let response = client.post_json_with(PATH, &headers, &body).await.unwrap();
            assert_eq!(response.status, StatusCode::OK, "{}", response.text());
            let engine = engine_of(&response);
            assert_eq!(*before.get_or_insert(engine.clone()), engine, "{session}, turn {turn}");
        }
        engines.extend(before);
    }
    engines.sort_unstable();
    engines.dedup();
    assert!(engines.len() > 1, "all sessions are at one engine");
}

/// A client cannot choose an engine.
pub(crate) async fn forged_headers_are_ignored(gateway: &RunningGateway, client: &Client) {
    let text = prompt("a forged header");
    let holder = engine_of(&client.post_json(PATH, &completion(&text)).await.unwrap());
    let others = gateway.backends.engines.iter().filter(|engine| engine.name() != holder);
    for engine in others.chain([&gateway.backends.other]) {
        let address = engine.addr().to_string();
        let forged = [("x-gateway-destination-endpoint", address.as_str())];
        let response = client.post_json_with(PATH, &forged, &completion(&text)).await.unwrap();
        assert_eq!(engine_of(&response), holder);
    }
}

/// A request of 5 MB arrives whole. Most of it is not for the engine to compute.
pub(crate) async fn long_requests_pass(client: &Client) {
    let mut body = completion("a long request");
    body["metadata"] = json!({ "padding": "a".repeat(LONG_BYTES) });
    let response = client.send(Method::POST, PATH, &[JSON], Bytes::from(body.to_string())).await.unwrap();
    assert_eq!(response.status, StatusCode::OK, "{}", response.text());
}

/// An engine that is full, or dies, is not the client's matter.
pub(crate) async fn full_engines_are_retried(gateway: &RunningGateway, client: &Client) {
    for code in [503, 429] {
        let text = prompt(&format!("full with {code}"));
        let holder = engine_of(&client.post_json(PATH, &completion(&text)).await.unwrap());
        let engine = gateway.backends.engines.iter().find(|engine| engine.name() == holder).unwrap();
        let every = std::num::NonZeroU32::MIN;
        engine.fault(Fault::Status { code, count: None, after_ms: 0, every }).await;
        let response = client.post_json(PATH, &completion(&text)).await.unwrap();
        assert_eq!(response.status, StatusCode::OK, "{code}: {}", response.text());
        assert_ne!(engine_of(&response), holder);
        engine.fault(Fault::Clear).await;
    }
    let text = prompt("killed");
    let holder = engine_of(&client.post_json(PATH, &completion(&text)).await.unwrap());
    let engine = gateway.backends.engines.iter().find(|engine| engine.name() == holder).unwrap();
    engine.fault(Fault::Die).await;
    for turn in 0..8 {
        let response = client.post_json(PATH, &completion(&format!("{text} {turn}"))).await.unwrap();
        assert_eq!(response.status, StatusCode::OK, "{}", response.text());
    }
    engine.fault(Fault::Clear).await;
}
