//! Envoy without `allow_on_headers_stop_iteration`, as with Istio's WasmPlugin: it withholds the body of a paused request from the
//! filter. No request may hang and, with the flag, none may lose its prompt.

use crate::stack::{
    MODEL, PATH, Setup, Stack, assert_at_rest, completion, engine_of, explain_anywhere, prompt,
};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use tokio::task::JoinSet;
use warmpath_engine::Fault;
use warmpath_envoy::resources::listener;
use warmpath_envoy::until;
use warmpath_http::{Client, JSON, RawConnection};

/// Requests of a test, by this many clients at once.
const REQUESTS: usize = 1_000;
const CLIENTS: usize = 10;
/// Of the requests of one client, each of so many is large.
const LARGE_EACH: usize = 20;
const LARGE_BYTES: usize = 3 << 20;

fn withholding() -> Setup {
    Setup { shows_bodies: false, ..Setup::default() }
}

#[tokio::test]
async fn no_post_hangs_where_bodies_are_withheld() {
    let stack = Stack::start(Setup { workers: 2, ..withholding() }).await;
    send_all(stack.gateway(0).await).await;
    let unread = REQUESTS.try_into().unwrap();
    stack.counted("unread.withheld", unread).await;
    let warnings = stack.envoy(0).log().text().matches("allow_on_headers_stop_iteration").count();
    assert_eq!(warnings, 2, "one of each worker");
    assert_at_rest(&stack).await;
}

#[tokio::test]
async fn the_same_posts_are_read_where_bodies_are_shown() {
    let stack = Stack::start(Setup { workers: 2, ..Setup::default() }).await;
    send_all(stack.gateway(0).await).await;
    assert_eq!((stack.metric("unread.withheld").await, stack.metric("resumed").await), (0, 0));
    assert_at_rest(&stack).await;
}

/// Sends small and large bodies, with and without a length, over HTTP/1 and HTTP/2.
async fn send_all(gateway: SocketAddr) {
    let mut clients = JoinSet::new();
    for at in 0..CLIENTS {
        let client = if at % 2 == 0 { Client::http1(gateway) } else { Client::h2c(gateway) };
        clients.spawn(async move {
            for turn in 0..REQUESTS / CLIENTS {
                let topic = format!("client {at} topic {turn}");
                let large = if turn % LARGE_EACH == 0 { "a".repeat(LARGE_BYTES) } else { String::new() };
                let mut body = completion(MODEL, &prompt(&topic));
                body["metadata"] = json!({ "image": large });
                let response = client.post_json(PATH, &body).await;
                let response = response.unwrap_or_else(|error| panic!("{topic}: {error:?}"));
                assert_eq!(response.status, StatusCode::OK, "{topic}: {}", response.text());
            }
        });
    }
    clients.join_all().await;
}

#[tokio::test]
async fn a_body_that_comes_slowly_reaches_its_engine() {
    for shows_bodies in [false, true] {
        let stack = Stack::start(Setup { shows_bodies, ..Setup::default() }).await;
        let gateway = stack.gateway(0).await;
        // The first ones are paused where bodies are withheld, the others are not.
        for turn in 0..5 {
            let body = completion(MODEL, &prompt(&format!("slowly {turn}"))).to_string();
            let (first, rest) = body.split_at(100);
            let mut client = RawConnection::open(gateway).await.unwrap();
            client.send(head("transfer-encoding: chunked")).await.unwrap();
            client.send(format!("{:x}\r\n{first}\r\n", first.len())).await.unwrap();
            let is_sent = async || {
                let active = stack.envoy(0).admin().stat("cluster.engines.upstream_rq_active").await.unwrap();
                (active == 1).then_some(())
            };
            if !shows_bodies {
                until("the request to go on with a piece of its body", is_sent).await.unwrap();
            }
            client.send(format!("{:x}\r\n{rest}\r\n0\r\n\r\n", rest.len())).await.unwrap();
            let response = client.read_until(|text| text.contains("\"usage\"")).await.unwrap();
            assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
        }
        stack.counted("unread.withheld", if shows_bodies { 0 } else { 5 }).await;
        assert_at_rest(&stack).await;
    }
}

#[tokio::test]
async fn a_late_body_of_the_first_request_arrives_and_the_next_are_read() {
    let stack = Stack::usual().await;
    // A new plugin has not been shown a body yet.
    let mut plugin = stack.plugin();
    plugin["alternates"] = json!(1);
    stack.plane.apply([listener(&stack.filter(plugin)).into()]).await.unwrap();
    let gateway = stack.gateway(0).await;
    until("the new configuration", async || {
        let response = Client::http1(gateway).get("/v1/models").await.unwrap();
        let (_, endpoints) = response.header("x-warmpath-decision")?.split_once("endpoints=")?;
        (endpoints.split(',').count() == 2).then_some(())
    })
    .await
    .unwrap();

    let body = completion(MODEL, &prompt("late"));
    let text = body.to_string();
    let mut client = RawConnection::open(gateway).await.unwrap();
    client.send(head(&format!("content-length: {}", text.len()))).await.unwrap();
    stack.counted("resumed", 1).await;
    client.send(&text).await.unwrap();
    client.read_until(|text| text.contains("\"usage\"")).await.unwrap();

    let client = Client::http1(gateway);
    for _ in 0..3 {
        client.post_json(PATH, &body).await.unwrap();
    }
    let candidates = explain_anywhere(&client, &body).await.unwrap();
    assert!(candidates[0].cells > 0, "{candidates:?}");
    assert_eq!(stack.metric("unread.withheld").await, 1);
}

#[tokio::test]
async fn a_session_stays_where_bodies_are_withheld() {
    let fields = json!({"affinity_headers": ["x-session-id"]});
    let stack = Stack::start(Setup { fields, ..withholding() }).await;
    let client = stack.client().await;
    for turn in 0..2 {
        client.post_json(PATH, &completion(MODEL, &prompt(&format!("{turn}")))).await.unwrap();
    }
    let mut homes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for turn in 1..6 {
        for session in 0..12 {
            let session = format!("session {session}");
            let text = prompt(&session).repeat(turn);
            let body = completion(MODEL, &text);
            let response =
                client.post_json_with(PATH, &[("x-session-id", session.as_str())], &body).await.unwrap();
            homes.entry(session).or_default().push(engine_of(&response).to_owned());
        }
    }
    for (session, homes) in &homes {
        assert!(homes.iter().all(|home| *home == homes[0]), "{session}: {homes:?}");
    }
    let used: BTreeSet<_> = homes.values().map(|homes| &homes[0]).collect();
    // Engines without load are equally good, so chance decides for each session.
    assert!(used.len() > 1, "all sessions are at one engine: {homes:?}");
}

#[tokio::test]
async fn what_fails_while_it_is_resumed_gets_its_response() {
    let stack = Stack::start(withholding()).await;
    let client = stack.client().await;
    for at in 0..3 {
        stack.engine(at).fault(Fault::Die).await;
    }
    for turn in 0..5 {
        let response = client.post_json(PATH, &completion(MODEL, &prompt(&format!("{turn}")))).await.unwrap();
        assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE, "{}", response.text());
    }
    let chunked = [JSON, ("x-other", "1")];
    let response = client.send(Method::POST, "/nowhere", &chunked, Bytes::from_static(b"{}")).await.unwrap();
    assert_ne!(response.status, StatusCode::OK);
    for at in 0..3 {
        stack.engine(at).fault(Fault::Clear).await;
    }
    until("the engines to be back", async || {
        let response = client.post_json(PATH, &completion(MODEL, &prompt("again"))).await.unwrap();
        (response.status == StatusCode::OK).then_some(())
    })
    .await
    .unwrap();
    assert_at_rest(&stack).await;
}

fn head(field: &str) -> String {
    format!("POST {PATH} HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n{field}\r\n\r\n")
}
