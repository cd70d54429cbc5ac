//! Bodies that the filter cannot read. They are the engine's to refuse: the filter passes them on as they are, by
//! load, and neither traps nor grows.

use crate::stack::{MODEL, PATH, Stack, assert_at_rest, completion, engine_of, prompt};
use bytes::Bytes;
use futures::future::join_all;
use http::{Method, StatusCode};
use std::fs;
use warmpath_envoy::process::Envoy;
use warmpath_http::Client;

const CHAT: &str = "/v1/chat/completions";
/// The filter reads no longer body.
const READ_BYTES_MAX: usize = 16 << 20;
/// Levels of nesting: far more than any stack holds if each takes a frame.
const NESTING: usize = 100_000;
/// Broken requests of the long run, by how many clients, and how many go before to fill caches and pools.
const REQUESTS: usize = 2_000;
const CLIENTS: usize = 8;
const WARM_UP_REQUESTS: usize = 400;
/// How much more memory Envoy may have after the long run, its VMs included.
const GROWTH_BYTES_MAX: u64 = 16 << 20;

/// A request that is wrong.
struct Broken {
    what: &'static str,
    path: &'static str,
    content_type: &'static str,
    encoding: Option<&'static str>,
    body: Bytes,
}

fn broken(what: &'static str, path: &'static str, body: impl Into<Bytes>) -> Broken {
    Broken { what, path, content_type: "application/json", encoding: None, body: body.into() }
}

/// Small bodies, each wrong in its own way.
fn small() -> Vec<Broken> {
    let whole = completion(MODEL, &prompt("broken")).to_string();
    let mut not_utf8 = whole.clone().into_bytes();
    not_utf8[40] = 0xFF;
    let nested = "[".repeat(NESTING);
    vec![
        broken("empty", PATH, ""),
        broken("not JSON", PATH, "prompt=hello"),
        broken("truncated", PATH, whole[..whole.len() / 2].to_owned()),
        broken("not UTF-8", PATH, not_utf8),
        broken("NUL bytes", PATH, vec![0_u8; 512]),
        broken("two models", PATH, format!(r#"{{"model":"other","model":"sim","prompt":{whole:?}}}"#)),
        broken("nested arrays", PATH, nested.clone()),
        broken("nested in a field", CHAT, format!(r#"{{"model":"sim","messages":{nested}"#)),
        broken("nested objects", CHAT, r#"{"a":"#.repeat(NESTING)),
        broken("wrong types", CHAT, r#"{"model":7,"messages":{"role":[]}}"#),
        broken(
            "half a surrogate",
            CHAT,
            r#"{"model":"sim","messages":[{"role":"user","content":"\ud800"}]}"#,
        ),
        Broken { encoding: Some("gzip"), ..broken("compressed", PATH, vec![0x1F, 0x8B, 8, 0, 0, 0, 0, 0]) },
        Broken { content_type: "text/plain", ..broken("said to be text", PATH, whole.clone()) },
        Broken { content_type: "multipart/form-data; boundary=x", ..broken("a form", PATH, "--x--") },
        broken("another path", "/v1/nowhere", whole.clone()),
        broken("a path that is no text", "/v1/%ff%fe/completions", whole),
    ]
}

#[tokio::test]
async fn an_unreadable_body_is_the_engines_to_refuse() {
    let stack = Stack::usual().await;
    for client in [stack.client().await, Client::h2c(stack.gateway(0).await)] {
        for broken in small() {
            let (status, engine) = send(&client, &broken).await;
            assert!(status.is_client_error(), "{}: {status}", broken.what);
            assert!(engine.starts_with("engine-"), "{}", broken.what);
        }
    }
    // The first is as long as the filter reads; beyond it lets a body pass before it has come to its end.
    for bytes in [READ_BYTES_MAX, READ_BYTES_MAX + 1, READ_BYTES_MAX + (4 << 20)] {
        let start = r#"{"model":"sim","prompt":""#;
        let body = format!("{start}{}\"}}", "a".repeat(bytes - start.len() - 2));
        let (status, _) = send(&stack.client().await, &broken("long", PATH, body)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{bytes} bytes are more than the model's context");
    }
    assert_at_rest(&stack).await;
}

#[tokio::test]
async fn thousands_of_broken_requests_leave_nothing_behind() {
    let stack = Stack::usual().await;
    let clients: Vec<_> = join_all((0..CLIENTS).map(|_| stack.client())).await;
    hammer(&clients, WARM_UP_REQUESTS).await;
    let before = resident_bytes(stack.envoy(0));
    hammer(&clients, REQUESTS).await;
    let grown = resident_bytes(stack.envoy(0)).saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "grown by {grown} bytes, from {before}");
    assert_at_rest(&stack).await;
}

async fn hammer(clients: &[Client], requests: usize) {
    let each = requests / clients.len();
    join_all(clients.iter().map(|client| async move {
        for broken in small().iter().cycle().take(each) {
            assert!(send(client, broken).await.0.is_client_error(), "{}", broken.what);
        }
    }))
    .await;
}

async fn send(client: &Client, broken: &Broken) -> (StatusCode, String) {
    let mut headers = vec![("content-type", broken.content_type)];
    headers.extend(broken.encoding.map(|encoding| ("content-encoding", encoding)));
    let response = client.send(Method::POST, broken.path, &headers, broken.body.clone()).await;
    let response = response.unwrap_or_else(|error| panic!("{}: {error:?}", broken.what));
    (response.status, engine_of(&response).to_owned())
}

/// What the process occupies, which includes the memory of its VMs, as Envoy's own figures do not.
fn resident_bytes(envoy: &Envoy) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", envoy.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib << 10
}
