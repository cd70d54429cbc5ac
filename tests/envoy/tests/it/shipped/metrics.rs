//! The filter's metrics on Envoy's Prometheus page.

use super::raw_engine::{OK, RawEngine};
use super::{config, start};
use serde_json::json;
use warmpath_envoy::resources::GATEWAY;
use warmpath_envoy::until;
use warmpath_http::Client;

#[tokio::test]
async fn metrics_begin_at_zero_and_have_pool_and_reason_as_labels() {
    let engine = RawEngine::start(|_| OK).await;
    // A name with dots and spaces, as the parts of a metric's name have.
    let pool = json!({ "name": "a pool v1.2", "models": ["*"], "endpoints": [engine.addr().to_string()] });
    let envoy = start(&config(&[engine.addr()]).plugin(json!({ "pools": [pool] }))).await;
    let page = || async { envoy.admin().get("/stats/prometheus").await.unwrap() };
    let has = |page: &str, line: &str| page.lines().any(|found| found == line);

    let first = page().await;
    for line in [
        r#"warmpath_decision{reason="warm"} 0"#,
        r#"warmpath_outcome{reason="faulty"} 0"#,
        r#"warmpath_rejected{reason="model_not_found"} 0"#,
        r#"warmpath_unread{reason="too_large"} 0"#,
        r#"warmpath_held{reason="room"} 0"#,
        r#"warmpath_hold_resumed{reason="endpoint"} 0"#,
        r#"warmpath_rejected{reason="no_room"} 0"#,
        "warmpath_failed{} 0",
        "warmpath_feed_closed{} 0",
    ] {
        assert!(has(&first, line), "{line} in {first}");
    }

    let client = Client::http1(envoy.listener(GATEWAY).await.unwrap());
    client.post_json("/v1/completions", &json!({ "prompt": "a long prompt ".repeat(200) })).await.unwrap();
    until("the request to be counted", async || {
        let page = page().await;
        let in_pool = r#"warmpath_pool_decision{pool="a pool v1.2",reason="cold"} 1"#;
        (has(&page, in_pool) && has(&page, r#"warmpath_decision{reason="cold"} 1"#)).then_some(())
    })
    .await
    .unwrap();
}
