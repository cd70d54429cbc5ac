//! What happens around held requests: the plugin is configured anew, the controller is away, their VM traps.

use super::{Asked, ask, wait_counted, wait_held};
use crate::stack::{Build, MODEL, PATH, Setup, Stack, completion, explain_anywhere, prompt};
use futures::future::join_all;
use http::StatusCode;
use serde_json::json;
use warmpath_envoy::resources::listener;
use warmpath_envoy::until;
use warmpath_http::{Client, Connection};

/// Requests of each kind.
const OF_EACH: usize = 4;

/// A stack whose pool has lost its endpoints. Envoy's cluster keeps them.
pub(super) async fn asleep(setup: Setup) -> Stack {
    let hold = json!({ "endpoint_s": 60 });
    let mut stack = Stack::start(Setup { hold, ..setup }).await;
    let none = stack.pools(&[(MODEL, 0..0)]);
    stack.controller().set_pools(&none);
    let client = stack.client().await;
    until("the pool to be empty", async || {
        explain_anywhere(&client, &completion(MODEL, "")).await.is_none().then_some(())
    })
    .await
    .unwrap();
    stack
}

pub(super) fn wake(stack: &mut Stack) {
    let pools = stack.pools(&[(MODEL, 0..3)]);
    stack.controller().set_pools(&pools);
}

async fn assert_served(asked: Asked) {
    for response in join_all(asked).await {
        let response = response.unwrap().unwrap();
        assert_eq!(response.status, StatusCode::OK, "{}", response.text());
    }
}

#[tokio::test]
async fn held_requests_outlive_the_configuration_under_which_they_came() {
    let mut stack = asleep(Setup { workers: 2, ..Setup::default() }).await;
    let gateway = stack.gateway(0).await;
    let before = ask(gateway, OF_EACH);
    let count = before.len();
    wait_held(stack.envoy(0), count).await;
    let mut plugin = stack.plugin();
    plugin["alternates"] = json!(1);
    stack.plane.apply([listener(&stack.filter(plugin)).into()]).await.unwrap();
    let after = ask(gateway, OF_EACH);
    wait_held(stack.envoy(0), 2 * count).await;
    wake(&mut stack);
    assert_served(before).await;
    assert_served(after).await;
}

#[tokio::test]
async fn held_requests_wait_for_a_controller_that_is_away() {
    let mut stack = asleep(Setup { workers: 2, ..Setup::default() }).await;
    let gateway = stack.gateway(0).await;
    let before = ask(gateway, OF_EACH);
    let count = before.len();
    wait_held(stack.envoy(0), count).await;
    stack.controller().stop().await;
    wait_counted(stack.envoy(0), "feed.connected", 0).await;
    let meanwhile = ask(gateway, OF_EACH);
    wait_held(stack.envoy(0), 2 * count).await;
    wake(&mut stack);
    stack.controller().start_again().await;
    assert_served(before).await;
    assert_served(meanwhile).await;
}

#[tokio::test]
async fn requests_held_in_a_vm_that_traps_end_with_their_clients_and_later_ones_are_served() {
    let mut stack = asleep(Setup { build: Build::Faulty, ..Setup::default() }).await;
    let gateway = stack.gateway(0).await;
    let paused = ask(gateway, OF_EACH);
    wait_held(stack.envoy(0), paused.len()).await;
    let status = crate::filter::trap::trap(&mut Connection::open(gateway).await.unwrap()).await;
    assert_eq!(status, Some(StatusCode::SERVICE_UNAVAILABLE));
    wake(&mut stack);
    // Envoy builds no VM anew before its back-off has passed.
    let later = completion(MODEL, &prompt("later"));
    until("a later request to be served", async || {
        let response = Client::http1(gateway).post_json(PATH, &later).await.unwrap();
        (response.status == StatusCode::OK).then_some(())
    })
    .await
    .unwrap();
    // Their contexts are gone with the VM, and Envoy calls nobody for a request that is paused.
    assert!(paused.iter().all(|request| !request.is_finished()), "this Envoy ends them: say so in the guide");
    for request in paused {
        request.abort();
    }
    super::wait_at_rest(stack.envoy(0)).await;
}
