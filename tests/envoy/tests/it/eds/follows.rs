//! Endpoints come and go, controllers stop and start, and clients do not notice.

use super::{addresses, controller, engines, gateway, pool, shipped, start, wait_connected, wait_hosts};
use crate::stack::{Controller, MODEL, Traffic};
use serde_json::json;
use warmpath_engine::{EngineServer, ServerConfig};
use warmpath_envoy::process::Launch;
use warmpath_envoy::until;
use warmpath_http::Client;

/// Clients that send at once.
const CLIENTS: usize = 4;
/// Requests between two changes.
const SOME: usize = 300;

#[tokio::test]
async fn an_added_endpoint_becomes_routable_and_a_removed_one_drains() {
    let engines = engines(4).await;
    let controller = controller(&engines[..3]).await;
    let envoy = start(&shipped(&[controller.addr()]), &Launch::default()).await;
    wait_hosts(&envoy, &addresses(&engines[..3])).await;
    wait_connected(&envoy).await;
    let mut traffic = Traffic::start(&[gateway(&envoy).await], CLIENTS);
    traffic.more(SOME).await;

    controller.set_pools(&pool(&addresses(&engines)));
    wait_hosts(&envoy, &addresses(&engines)).await;
    until("the added engine to be used", async || (engines[3].state().finished > 0).then_some(()))
        .await
        .unwrap();
    traffic.more(SOME).await;

    controller.set_pools(&pool(&addresses(&engines[1..])));
    wait_hosts(&envoy, &addresses(&engines[1..])).await;
    // What ran there when it was removed may still end.
    until("the removed engine to be idle", async || (engines[0].state().running == 0).then_some(()))
        .await
        .unwrap();
    let finished = engines[0].state().finished;
    traffic.more(SOME).await;
    traffic.finish().await.assert_nothing_lost(3 * SOME);
    assert_eq!(engines[0].state().finished, finished, "the removed engine got nothing more");
}

#[tokio::test]
async fn a_request_at_a_removed_endpoint_is_finished() {
    let slow = ServerConfig { name: "slow".to_owned(), model: MODEL.to_owned(), ..ServerConfig::default() };
    let engines = [EngineServer::start(slow).await.unwrap()];
    let controller = controller(&engines).await;
    let envoy = start(&shipped(&[controller.addr()]), &Launch::default()).await;
    wait_hosts(&envoy, &addresses(&engines)).await;
    let client = Client::http1(gateway(&envoy).await);
    let body = json!({ "model": MODEL, "prompt": "a long story", "max_tokens": 300, "stream": true });
    let mut stream = client.stream_json("/v1/completions", &body).await.unwrap();
    assert!(stream.next().await.unwrap().is_some());
    controller.set_pools(&pool(&[]));
    wait_hosts(&envoy, &[]).await;
    assert!(engines[0].state().running > 0, "the request ended too early for this test");
    let response = stream.whole().await.unwrap();
    assert!(response.text().contains("[DONE]"), "{}", response.text());
}

#[tokio::test]
async fn envoy_keeps_its_endpoints_while_the_controller_is_away_and_takes_what_has_changed() {
    let engines = engines(4).await;
    let mut controller = controller(&engines[..3]).await;
    let envoy = start(&shipped(&[controller.addr()]), &Launch::default()).await;
    wait_hosts(&envoy, &addresses(&engines[..3])).await;
    wait_connected(&envoy).await;
    let mut traffic = Traffic::start(&[gateway(&envoy).await], CLIENTS);
    traffic.more(SOME).await;
    controller.stop().await;
    until("the filter to notice", async || {
        (envoy.admin().stat("wasmcustom.warmpath.feed.connected").await.unwrap() == 0).then_some(())
    })
    .await
    .unwrap();
    traffic.more(SOME).await;
    wait_hosts(&envoy, &addresses(&engines[..3])).await;

    // One that cannot resolve a name yet does not know its pools: it must not take the endpoints away.
    let mut some = addresses(&engines[..1]);
    some.push("absent.invalid:80".to_owned());
    controller.set_pools(&pool(&some));
    controller.start_again().await;
    wait_connected(&envoy).await;
    until("the stream of endpoints", async || {
        (envoy.admin().stat("cluster.engines.update_attempt").await.unwrap() > 0
            && controller_streams(&controller).await > 0)
            .then_some(())
    })
    .await
    .unwrap();
    wait_hosts(&envoy, &addresses(&engines[..3])).await;

    controller.set_pools(&pool(&addresses(&engines)));
    wait_hosts(&envoy, &addresses(&engines)).await;
    traffic.more(SOME).await;
    traffic.finish().await.assert_nothing_lost(3 * SOME);
}

async fn controller_streams(controller: &Controller) -> u64 {
    let page = Client::http1(controller.http_addr()).get("/metrics").await.unwrap().text();
    let line = page.lines().find_map(|line| line.strip_prefix("warmpath_controller_eds_streams "));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn requests_are_served_when_one_of_two_controllers_dies() {
    let engines = engines(3).await;
    let mut first = controller(&engines[..2]).await;
    let mut second = controller(&engines[..2]).await;
    let envoy = start(&shipped(&[first.addr(), second.addr()]), &Launch::default()).await;
    wait_hosts(&envoy, &addresses(&engines[..2])).await;
    wait_connected(&envoy).await;
    let mut traffic = Traffic::start(&[gateway(&envoy).await], CLIENTS);
    traffic.more(SOME).await;
    // Each in turn, so that the one that is followed is among them.
    for (gone, wanted) in [(0, 3), (1, 2)] {
        [&mut first, &mut second][gone].stop().await;
        for controller in [&first, &second] {
            controller.set_pools(&pool(&addresses(&engines[..wanted])));
        }
        wait_hosts(&envoy, &addresses(&engines[..wanted])).await;
        wait_connected(&envoy).await;
        traffic.more(SOME).await;
        [&mut first, &mut second][gone].start_again().await;
    }
    traffic.finish().await.assert_nothing_lost(3 * SOME);
}

#[tokio::test]
async fn addresses_of_ipv6_are_taken() {
    let both = ["127.0.0.1:9".to_owned(), "[::1]:9".to_owned()];
    let controller = Controller::start(&pool(&both)).await;
    let envoy = start(&shipped(&[controller.addr()]), &Launch::default()).await;
    wait_hosts(&envoy, &both).await;
}
