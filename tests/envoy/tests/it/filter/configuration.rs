//! Configurations over xDS: one that the filter refuses changes nothing; one that is replaced takes nothing with it.

use crate::stack::{MODEL, PATH, Setup, Stack, completion, explain, explain_anywhere, prompt};
use http::StatusCode;
use serde_json::json;
use warmpath_envoy::resources::{GATEWAY, listener};
use warmpath_envoy::until;
use warmpath_envoy::xds::Kind;
use warmpath_http::Client;

#[tokio::test]
async fn a_wrong_configuration_is_refused_with_all_reasons_and_the_old_one_serves() {
    let stack = Stack::usual().await;
    let known = completion(MODEL, &prompt("known"));
    assert_eq!(stack.client().await.post_json(PATH, &known).await.unwrap().status, StatusCode::OK);

    let wrong = json!({
        "pools": [{ "name": "a", "models": [], "endpoints": ["localhost:80"] }],
        "alternates": 99,
        "cell_byte": 256,
        "explain": "yes",
    });
    let version = stack.plane.push([listener(&stack.filter(wrong)).into()]);
    let rejection = stack.plane.wait_rejected(Kind::Listener, version).await.unwrap();
    assert!(rejection.reason.contains(GATEWAY), "{}", rejection.reason);
    for field in ["pools[0].models", "pools[0].endpoints[0]", "alternates", "cell_byte", "explain"] {
        let found = stack
            .envoy(0)
            .log()
            .text()
            .lines()
            .any(|line| line.contains("[error]") && line.contains(&format!("configuration: {field}")));
        assert!(found, "no word of {field}");
    }

    let client = Client::http1(stack.gateway(0).await);
    let candidates = explain_anywhere(&client, &known).await.unwrap();
    assert_eq!((candidates.len(), candidates[0].cells > 0), (3, true));
    assert_eq!(client.post_json(PATH, &known).await.unwrap().status, StatusCode::OK);
    assert_eq!(stack.metric("feed.connected").await, 1);
}

#[tokio::test]
async fn the_uplink_and_what_was_learned_outlive_the_configuration_that_began_them() {
    let mut stack = Stack::start(Setup { workers: 2, drain_s: 1, ..Setup::default() }).await;
    let known = completion(MODEL, &prompt("known"));
    assert_eq!(stack.client().await.post_json(PATH, &known).await.unwrap().status, StatusCode::OK);
    let opened = stack.metric("feed.opened").await;

    let mut plugin = stack.plugin();
    plugin["alternates"] = json!(1);
    stack.plane.apply([listener(&stack.filter(plugin)).into()]).await.unwrap();
    // The plugin that had the lease ends with the old configuration, when Envoy has drained it.
    until("the new configuration's own stream", async || {
        (stack.metric("feed.opened").await > opened).then_some(())
    })
    .await
    .unwrap();

    let fewer = stack.pools(&[(MODEL, 0..2)]);
    stack.controller().set_pools(&fewer);
    for worker in &mut stack.connections(0).await {
        until("the pools to change", async || {
            let candidates = explain(worker, &completion(MODEL, "")).await?;
            (candidates.len() == 2).then_some(())
        })
        .await
        .unwrap();
    }
    assert_eq!(stack.metric("feed.connected").await, 1);
}
