//! Bodies whose model is replaced, in every way in which HTTP can carry them: the length must match, or Envoy and the engine wait
//! for each other.

use crate::stack::{
    MODEL, PATH, Setup, Stack, assert_at_rest, chunks_and_trailers, completion, engine_of, prompt,
    send_with_trailers,
};
use http::StatusCode;
use serde_json::json;
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
            let mut client = RawConnection::open(gateway).await.unwrap();
            client.send(chunks_and_trailers(&body)).await.unwrap();
            let response = client.read_until(|text| text.contains("\"usage\"")).await.unwrap();
            assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
            assert_eq!(send_with_trailers(gateway, body).await, StatusCode::OK);
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
