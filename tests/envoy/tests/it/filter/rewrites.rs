//! Bodies with another model than the client's, in every way in which HTTP can carry them: the length must fit, or Envoy and
//! the engine wait for each other.

use crate::stack::{MODEL, PATH, Setup, Stack, assert_at_rest, completion, engine_of, prompt};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use std::convert::Infallible;
use tokio::net::TcpStream;
use warmpath_engine::Fault;
use warmpath_http::{Client, RawConnection};

const ALIAS: &str = "an-alias-that-is-longer-than-the-name-of-the-model";
const SHORT: &str = "x";
const LARGE_BYTES: usize = 3 << 20;

async fn start(has_controller: bool) -> Stack {
    let rule = |name: &str| json!({ "model": name, "targets": [{ "model": MODEL }] });
    let rewrites = json!([rule(ALIAS), rule(SHORT)]);
    Stack::start(Setup { has_controller, rewrites, ..Setup::default() }).await
}

#[tokio::test]
async fn an_engine_gets_the_model_that_it_knows_however_the_body_is_sent() {
    for has_controller in [true, false] {
        let stack = start(has_controller).await;
        let gateway = stack.gateway(0).await;
        for name in [ALIAS, SHORT] {
            for client in [Client::http1(gateway), Client::h2c(gateway)] {
                for extra_bytes in [0, LARGE_BYTES] {
                    let mut body = completion(name, &prompt("whales"));
                    body["metadata"] = json!({ "image": "a".repeat(extra_bytes) });
                    let response = client.post_json(PATH, &body).await.unwrap();
                    assert_eq!(response.status, StatusCode::OK, "{name}: {}", response.text());
                    assert_eq!(response.header("x-warmpath-model"), Some(MODEL));
                    assert_eq!(response.json()["model"], MODEL);
                }
            }
            let body = completion(name, &prompt("whales")).to_string();
            let (first, second) = body.split_at(100);
            let sent = format!(
                "POST {PATH} HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n\
                 transfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                 {:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\nx-sum: 1\r\n\r\n",
                first.len(),
                second.len()
            );
            let mut client = RawConnection::open(gateway).await.unwrap();
            client.send(&sent).await.unwrap();
            let response = client.read_until(|text| text.contains("\"usage\"")).await.unwrap();
            assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
            assert_eq!(send_with_trailers(&stack, body).await, StatusCode::OK);
        }
        assert_at_rest(&stack).await;
    }
}

#[tokio::test]
async fn an_alias_finds_what_the_model_has_cached_and_is_retried_with_the_same_body() {
    let stack = start(true).await;
    let client = stack.client().await;
    let first = client.post_json(PATH, &completion(MODEL, &prompt("whales"))).await.unwrap();
    let again = client.post_json(PATH, &completion(ALIAS, &prompt("whales"))).await.unwrap();
    assert_eq!(engine_of(&again), engine_of(&first));
    stack.engine_named(engine_of(&first)).fault(Fault::Die).await;
    let retried = client.post_json(PATH, &completion(ALIAS, &prompt("whales"))).await.unwrap();
    assert_eq!(retried.status, StatusCode::OK, "{}", retried.text());
    assert_ne!(engine_of(&retried), engine_of(&first));
}

/// Sends a request whose end is not that of its body, over HTTP/2.
async fn send_with_trailers(stack: &Stack, body: String) -> StatusCode {
    let gateway = stack.gateway(0).await;
    let stream = TcpStream::connect(gateway).await.unwrap();
    let (mut requests, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let trailers = HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("sum"))]);
    let body = Full::new(Bytes::from(body)).with_trailers(async { Some(Ok::<_, Infallible>(trailers)) });
    let request = Request::post(format!("http://{gateway}{PATH}"))
        .header("content-type", "application/json")
        .body(Box::pin(body))
        .unwrap();
    requests.send_request(request).await.unwrap().status()
}
