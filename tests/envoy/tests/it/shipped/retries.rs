//! What is tried again, and how often.

use super::raw_engine::{OK, RawEngine, Then};
use super::{config, start};
use http::StatusCode;
use serde_json::json;
use warmpath_envoy::resources::GATEWAY;
use warmpath_http::Client;

const FULL: Then = Then::Respond("HTTP/1.1 503 Full\r\nretry-after: 5\r\ncontent-length: 0\r\n\r\n");

#[tokio::test]
async fn full_engines_are_asked_once_each_for_a_request() {
    for (count, asked) in [(1, 1), (2, 2), (3, 3), (5, 4)] {
        let mut engines = Vec::new();
        for _ in 0..count {
            engines.push(RawEngine::start(|_| FULL).await);
        }
        let addresses: Vec<_> = engines.iter().map(RawEngine::addr).collect();
        let envoy = start(&config(&addresses)).await;
        let client = Client::http1(envoy.listener(GATEWAY).await.unwrap());
        let response = client.post_json("/v1/completions", &json!({ "prompt": "hello" })).await.unwrap();
        assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.header("retry-after"), Some("5"), "the engine's own");
        let times: Vec<_> = engines.iter().map(|engine| engine.heads().len()).collect();
        assert_eq!(times.iter().sum::<usize>(), asked, "{times:?}");
        assert!(times.iter().all(|times| *times <= 1), "{times:?}");
    }
}

#[tokio::test]
async fn the_only_engine_may_close_an_idle_connection_when_a_request_comes() {
    let engine = RawEngine::start(|number| if number == 0 { OK } else { Then::Close("") }).await;
    let envoy = start(&config(&[engine.addr()])).await;
    let client = Client::http1(envoy.listener(GATEWAY).await.unwrap());
    for _ in 0..3 {
        let response = client.post_json("/v1/completions", &json!({ "prompt": "hello" })).await.unwrap();
        assert_eq!(response.status, StatusCode::OK);
    }
}
