//! While clients talk, something goes away and comes back. They hear 200 and nothing else.
//!
//! Answers are short and not streamed: one that has begun cannot be tried again by anybody.

use crate::stack::{MODEL, PATH, Setup, Stack, Traffic, completion, engine_of, explain_anywhere, prompt};
use serde_json::json;
use std::net::SocketAddr;
use warmpath_engine::Fault;
use warmpath_envoy::resources::{ENGINES, endpoints, listener};
use warmpath_envoy::until;
use warmpath_http::Client;

/// Clients that talk at once.
const CLIENTS: usize = 6;
/// Requests before, between and after what happens.
const THIRD: usize = 350;
/// Requests of a test.
const REQUESTS_MIN: usize = 3 * THIRD;

#[tokio::test]
async fn an_engine_dies_and_comes_back() {
    let stack = Stack::usual().await;
    let mut traffic = Traffic::start(&[stack.gateway(0).await], CLIENTS);
    traffic.more(THIRD).await;
    stack.engine(1).fault(Fault::Die).await;
    traffic.more(THIRD).await;
    stack.engine(1).fault(Fault::Clear).await;
    let finished = stack.engine(1).state().finished;
    until("the engine to be used again", async || {
        (stack.engine(1).state().finished > finished).then_some(())
    })
    .await
    .unwrap();
    traffic.more(THIRD).await;
    traffic.finish().await.assert_nothing_lost(REQUESTS_MIN);
    // The death was noticed.
    stack.counted("retried", 1).await;
}

#[tokio::test]
async fn the_controller_stops_and_starts_again() {
    let mut stack = Stack::usual().await;
    let client = stack.client().await;
    let known = completion(MODEL, &prompt("learned before"));
    let holder = engine_of(&client.post_json(PATH, &known).await.unwrap()).to_owned();
    let holder = stack.engine_named(&holder).addr();

    let mut traffic = Traffic::start(&[stack.gateway(0).await], CLIENTS);
    traffic.more(THIRD).await;
    stack.controller().stop().await;
    until("the stream to end", async || (stack.metric("feed.connected").await == 0).then_some(()))
        .await
        .unwrap();
    traffic.more(THIRD).await;
    let snapshots = stack.metric("feed.snapshot").await;
    stack.controller().start_again().await;
    until("a snapshot", async || (stack.metric("feed.snapshot").await > snapshots).then_some(()))
        .await
        .unwrap();
    traffic.more(THIRD).await;
    traffic.finish().await.assert_nothing_lost(REQUESTS_MIN);

    // The new controller began with nothing: what it knows of this prompt, the proxy has told it.
    let controller = Client::http1(stack.controller().http_addr());
    until("the controller to know what the proxy had learned", async || {
        let explanation = controller.post_json("/explain?path=/v1/completions", &known).await.unwrap().json();
        let best = explanation.pointer("/candidates/0")?;
        let is_holder = best.get("endpoint")? == &json!(holder.to_string());
        (is_holder && best.get("cells")?.as_u64()? > 0).then_some(())
    })
    .await
    .unwrap();
    let candidates = explain_anywhere(&client, &known).await.unwrap();
    assert_eq!((&candidates[0].endpoint, candidates[0].cells > 0), (&holder.to_string(), true));
}

#[tokio::test]
async fn endpoints_come_and_go() {
    let mut stack = Stack::start(Setup { engines: 4, ..Setup::default() }).await;
    let gateway = stack.gateway(0).await;
    stack.plane.apply([endpoints(ENGINES, &stack.addresses(0..3)).into()]).await.unwrap();
    let mut traffic = Traffic::start(&[gateway], CLIENTS);
    traffic.more(THIRD).await;

    // First where it can be reached, then where it can be chosen.
    stack.plane.apply([endpoints(ENGINES, &stack.addresses(0..4)).into()]).await.unwrap();
    let more = stack.pools(&[(MODEL, 0..4)]);
    stack.controller().set_pools(&more);
    wait_chosen_from(gateway, &stack.addresses(0..4)).await;
    until("the added engine to be used", async || (stack.engine(3).state().finished > 0).then_some(()))
        .await
        .unwrap();
    traffic.more(THIRD).await;

    // The other way round.
    let fewer = stack.pools(&[(MODEL, 1..4)]);
    stack.controller().set_pools(&fewer);
    wait_chosen_from(gateway, &stack.addresses(1..4)).await;
    stack.plane.apply([endpoints(ENGINES, &stack.addresses(1..4)).into()]).await.unwrap();
    until("the removal", async || {
        let members = stack.envoy(0).admin().stat("cluster.engines.membership_total").await.unwrap();
        (members == 3).then_some(())
    })
    .await
    .unwrap();
    let finished = stack.engine(0).state().finished;
    traffic.more(THIRD).await;
    traffic.finish().await.assert_nothing_lost(REQUESTS_MIN);
    assert_eq!(stack.engine(0).state().finished, finished, "the removed engine got nothing more");
}

/// Waits until exactly these endpoints can be chosen.
async fn wait_chosen_from(gateway: SocketAddr, wanted: &[SocketAddr]) {
    let client = Client::http1(gateway);
    let mut wanted: Vec<_> = wanted.iter().map(ToString::to_string).collect();
    wanted.sort();
    until("the pool to change", async || {
        let candidates = explain_anywhere(&client, &completion(MODEL, "")).await?;
        let mut found: Vec<_> = candidates.into_iter().map(|candidate| candidate.endpoint).collect();
        found.sort();
        (found == wanted).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn the_plugin_is_configured_anew() {
    let stack = Stack::usual().await;
    let gateway = stack.gateway(0).await;
    let known = completion(MODEL, &prompt("learned before"));
    let before = stack.client().await.post_json(PATH, &known).await.unwrap();
    assert_eq!(destinations(before.header("x-warmpath-decision").unwrap()), 3);

    let mut traffic = Traffic::start(&[gateway], CLIENTS);
    traffic.more(THIRD).await;
    let mut plugin = stack.plugin();
    plugin["alternates"] = json!(1);
    stack.plane.apply([listener(&stack.filter(plugin)).into()]).await.unwrap();
    let after = until("the new configuration", async || {
        let response = Client::http1(gateway).post_json(PATH, &known).await.unwrap();
        let decision = response.header("x-warmpath-decision").unwrap().to_owned();
        (destinations(&decision) == 2).then_some(decision)
    })
    .await
    .unwrap();
    traffic.more(THIRD).await;
    // A new client, because those that are connected may go on under the old configuration until Envoy drains it.
    let mut later = Traffic::start(&[gateway], CLIENTS);
    later.more(THIRD).await;
    later.finish().await.assert_nothing_lost(THIRD);
    traffic.finish().await.assert_nothing_lost(REQUESTS_MIN);

    // The holder may have been too busy with the traffic; who knows of none would have said that it is cold.
    assert!(!after.starts_with("reason=cold"), "what was learned is kept: {after}");
    let candidates = explain_anywhere(&Client::http1(gateway), &known).await.unwrap();
    let holder = stack.engine_named(engine_of(&before)).addr().to_string();
    assert!(candidates.iter().any(|candidate| candidate.endpoint == holder && candidate.cells > 0));
    assert_eq!(stack.metric("feed.connected").await, 1);
}

/// How many endpoints a decision names.
fn destinations(decision: &str) -> usize {
    decision.split_once("endpoints=").unwrap().1.split(',').count()
}

#[tokio::test]
async fn engines_are_full_before_their_first_byte() {
    let stack = Stack::usual().await;
    let mut traffic = Traffic::start(&[stack.gateway(0).await], CLIENTS);
    traffic.more(THIRD).await;
    for (at, code) in [(0, 429), (1, 503)] {
        stack.engine(at).fault(Fault::status(code, Some(20))).await;
        traffic.more(THIRD).await;
    }
    until("both to have refused", async || {
        (stack.engine(0).state().faulted > 0 && stack.engine(1).state().faulted > 0).then_some(())
    })
    .await
    .unwrap();
    traffic.finish().await.assert_nothing_lost(REQUESTS_MIN);
    stack.counted("retried", 2).await;
}
