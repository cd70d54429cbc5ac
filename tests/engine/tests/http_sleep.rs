//! Sleep mode over HTTP: what vLLM's development endpoints do, and what becomes of requests meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "test code: what is not there fails the test"
)]

mod client;

use client::{get, post};
use serde_json::{Value, json};
use std::time::Duration;
use warmpath_engine::{EngineServer, ServerConfig, Slept};

const COMPLETIONS: &str = "/v1/completions";

async fn with_sleep_mode() -> EngineServer {
    let config = ServerConfig { wake_time: Some(Duration::ZERO), ..ServerConfig::instant() };
    EngineServer::start(config).await.unwrap()
}

fn prompt() -> Value {
    json!({"prompt": "abcd".repeat(100), "max_tokens": 2})
}

async fn status(engine: &EngineServer, path: &str) -> u16 {
    post(engine, path, json!({"method": "reload_weights"})).await.status.as_u16()
}

async fn is_sleeping(engine: &EngineServer) -> Value {
    get(engine, "/is_sleeping").await.json()["is_sleeping"].clone()
}

#[tokio::test]
async fn requests_of_an_engine_that_sleeps_wait_and_its_cache_is_gone() {
    let engine = with_sleep_mode().await;
    assert_eq!(post(&engine, COMPLETIONS, prompt()).await.status, 200);
    assert_eq!(status(&engine, "/sleep?level=1&mode=wait").await, 200);
    assert_eq!(is_sleeping(&engine).await, true);
    let request = async { post(&engine, COMPLETIONS, prompt()).await };
    let wake = async {
        while engine.state().slept.disturbed == 0 {
            tokio::task::yield_now().await;
        }
        status(&engine, "/wake_up").await
    };
    let (reply, woken) = tokio::join!(request, wake);
    assert_eq!((reply.status.as_u16(), woken), (200, 200));
    assert_eq!(reply.header("x-engine-cached-tokens"), "0");
    let slept = Slept { sleeps: 1, wakes: 1, disturbed: 1, ..Slept::default() };
    assert_eq!((is_sleeping(&engine).await, engine.state().slept), (json!(false), slept));
}

#[tokio::test]
async fn an_engine_that_discarded_its_weights_needs_them_again_before_its_cache() {
    let engine = with_sleep_mode().await;
    for wake in [&["/wake_up"][..], &["/wake_up?tags=weights", "/collective_rpc", "/wake_up?tags=kv_cache"]] {
        assert_eq!(status(&engine, "/sleep?level=2").await, 200);
        assert_eq!(status(&engine, "/collective_rpc").await, 500, "there is no memory for them yet");
        for step in wake {
            assert_eq!(
                (is_sleeping(&engine).await, status(&engine, step).await),
                (json!(true), 200),
                "{step}"
            );
        }
        let is_whole = wake.len() == 3;
        assert_eq!(is_sleeping(&engine).await, false);
        assert_eq!(post(&engine, COMPLETIONS, prompt()).await.status.is_success(), is_whole);
    }
    assert_eq!(engine.state().slept.without_weights, 1);
}

#[tokio::test]
async fn an_engine_whose_sleep_failed_is_awake_after_a_wake_and_has_no_weights() {
    let config =
        ServerConfig { wake_time: Some(Duration::ZERO), sleep_fails: true, ..ServerConfig::instant() };
    let engine = EngineServer::start(config).await.unwrap();
    assert_eq!(status(&engine, "/sleep").await, 500);
    assert_eq!(is_sleeping(&engine).await, true, "it has paused");
    assert_eq!(status(&engine, "/wake_up").await, 200);
    assert_eq!(is_sleeping(&engine).await, false);
    assert_eq!(post(&engine, COMPLETIONS, prompt()).await.status, 500);
    assert_eq!(engine.state().slept, Slept { without_weights: 1, ..Slept::default() });
}

#[tokio::test]
async fn an_engine_without_sleep_mode_has_none_of_its_endpoints() {
    let engine = EngineServer::start(ServerConfig::instant()).await.unwrap();
    for path in ["/sleep", "/wake_up", "/collective_rpc"] {
        assert_eq!(status(&engine, path).await, 404, "{path}");
    }
}
