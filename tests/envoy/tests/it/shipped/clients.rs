//! What clients send that Envoy's defaults change or refuse.

use super::raw_engine::{OK, RawEngine, Then};
use super::{config, start};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::json;
use warmpath_envoy::resources::GATEWAY;
use warmpath_envoy::until;
use warmpath_http::{Client, RawConnection};

const REQUEST_ID: &str = "x-request-id";

#[tokio::test]
async fn the_request_id_of_a_client_is_kept_and_every_response_has_one() {
    let engine = RawEngine::start(|_| OK).await;
    let envoy = start(&config(&[engine.addr()])).await;
    let client = Client::http1(envoy.listener(GATEWAY).await.unwrap());
    let named = [(REQUEST_ID, "my-trace-123")];
    let response = client.send(Method::GET, "/v1/models", &named, Bytes::new()).await.unwrap();
    assert_eq!(response.header(REQUEST_ID), Some("my-trace-123"));
    assert!(engine.heads()[0].contains("x-request-id: my-trace-123\r\n"), "{:?}", engine.heads());
    for path in ["/v1/models", "/metrics"] {
        assert!(client.get(path).await.unwrap().header(REQUEST_ID).is_some(), "{path}");
    }
}

#[tokio::test]
async fn the_access_log_shows_the_decision_and_the_client_does_not_see_it() {
    let engine = RawEngine::start(|_| OK).await;
    let envoy = start(&config(&[engine.addr()]).access_log()).await;
    let client = Client::http1(envoy.listener(GATEWAY).await.unwrap());
    let body = json!({ "model": "m", "prompt": "a long prompt ".repeat(200) });
    let response = client.post_json("/v1/completions", &body).await.unwrap();
    assert_eq!(response.header("x-warmpath-decision"), None);
    let line = until("a line of the access log", async || {
        let text = envoy.log().text();
        text.lines().find(|line| line.starts_with('{')).map(str::to_owned)
    })
    .await
    .unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let field = |name: &str| line.get(name).unwrap().to_string();
    assert!(field("decision").contains("reason=cold cached=0/"), "{line}");
    assert!(field("engine").contains(&engine.addr().to_string()), "{line}");
    assert!(field("model").contains("\"m\""), "{line}");
}

#[tokio::test]
async fn clients_set_neither_time_limits_nor_retries() {
    let engine = RawEngine::start(|_| OK).await;
    let envoy = start(&config(&[engine.addr()])).await;
    let client = Client::http1(envoy.listener(GATEWAY).await.unwrap());
    let wanted = [
        ("x-envoy-upstream-rq-timeout-ms", "1"),
        ("x-envoy-upstream-rq-per-try-timeout-ms", "1"),
        ("x-envoy-max-retries", "90"),
        ("x-envoy-retry-on", "5xx"),
    ];
    let response = client.send(Method::GET, "/v1/models", &wanted, Bytes::new()).await.unwrap();
    assert_eq!(response.status, StatusCode::OK);
    let head = engine.heads().remove(0);
    // Envoy would pass the limit on to the engine.
    assert!(!head.contains("x-envoy-expected-rq-timeout-ms") && !head.contains("retr"), "{head}");
}

#[tokio::test]
async fn long_headers_reach_the_engine() {
    let engine = RawEngine::start(|_| OK).await;
    let envoy = start(&config(&[engine.addr()])).await;
    for client in [Client::http1, Client::h2c].map(|open| open) {
        let client = client(envoy.listener(GATEWAY).await.unwrap());
        let long = "a".repeat(70 << 10);
        let response = client.send(Method::GET, "/v1/models", &[("cookie", &long)], Bytes::new()).await;
        assert_eq!(response.unwrap().status, StatusCode::OK);
    }
    assert!(engine.heads().iter().all(|head| head.len() > 70 << 10));
}

#[tokio::test]
async fn a_websocket_passes() {
    let accept = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
    let engine = RawEngine::start(move |_| Then::Echo(accept)).await;
    let envoy = start(&config(&[engine.addr()])).await;
    let mut client = RawConnection::open(envoy.listener(GATEWAY).await.unwrap()).await.unwrap();
    let request = "GET /v1/realtime?model=m HTTP/1.1\r\nhost: gateway\r\nconnection: upgrade\r\n\
                   upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAA\r\n\r\n";
    client.send(request).await.unwrap();
    let head = client.read_until(|text| text.contains("\r\n\r\n")).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    client.send("ping").await.unwrap();
    client.read_until(|text| text.ends_with("ping")).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_the_engine_cuts_is_cut_for_the_client() {
    let begun = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
                 9\r\ndata: 1\n\n\r\n";
    let engine = RawEngine::start(move |_| Then::Close(begun)).await;
    let envoy = start(&config(&[engine.addr()])).await;
    let mut client = RawConnection::open(envoy.listener(GATEWAY).await.unwrap()).await.unwrap();
    let body = json!({ "prompt": "hello", "stream": true }).to_string();
    let request = format!(
        "POST /v1/completions HTTP/1.1\r\nhost: gateway\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    client.send(request).await.unwrap();
    let text = client.read_to_end().await.unwrap();
    assert!(text.contains("data: 1") && !text.contains("\r\n0\r\n"), "{text}");
}
