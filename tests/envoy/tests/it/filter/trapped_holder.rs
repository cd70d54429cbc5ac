//! The VM that holds the lease traps, and with it goes the stream to the controller. Another VM takes both over,
//! and requests do not notice.
//!
//! The VM of Envoy's main thread starts first and so gets the lease first, but it serves no request that could make
//! it trap. A plugin that is configured anew lets go of the lease when its old configuration has been drained; then
//! the VM gets it that looks next, by chance.

use serde_json::json;
use warmpath_envoy::client::Connection;
use warmpath_envoy::resources::listener;
use warmpath_envoy::until;

use super::trap::{talk, trap, wait_built_anew};
use crate::stack::{Build, MODEL, Setup, Stack, completion, explain};

const WORKERS: u32 = 2;
/// Times that the lease is given anew: main gets it in one of three, and in all of them once in 14 million.
const ROUNDS: usize = 15;
/// Requests of each worker after the traps.
const REQUESTS: usize = 300;
/// What the holder says when its stream ends.
const STREAM_ENDED: &str = "controller: stream ended";

#[tokio::test]
async fn another_vm_takes_over_from_a_holder_that_trapped() {
    let setup = Setup { workers: WORKERS, build: Build::Faulty, drain_s: 1, ..Setup::default() };
    let mut stack = Stack::start(setup).await;
    give_lease_to_a_worker(&mut stack).await;

    let opened = stack.metric("feed.opened").await;
    for worker in 0..2 {
        // Connections of before the trap are not trusted to be served by the same VM.
        trap(&mut stack.connections(0).await[worker]).await;
        wait_built_anew(&stack, worker).await;
    }
    let mut workers = stack.connections(0).await;
    for worker in &mut workers {
        assert_eq!(talk(worker, REQUESTS).await, [0; 0], "requests without a holder that were lost");
    }
    until("another stream", async || (stack.metric("feed.opened").await > opened).then_some(()))
        .await
        .unwrap();
    wait_pools_arrive(&mut stack, &mut workers).await;
    let streams = "cluster.warmpath_controller.upstream_rq_active";
    assert_eq!(
        stack.envoy(0).admin().stat(streams).await.unwrap(),
        1,
        "the stream of the trapped VM is gone"
    );
}

/// Configures the plugin anew until a worker's VM holds the lease.
async fn give_lease_to_a_worker(stack: &mut Stack) {
    for round in 0..ROUNDS {
        let opened = stack.metric("feed.opened").await;
        let mut plugin = stack.plugin();
        plugin["alternates"] = json!(1 + round % 2);
        stack.plane.apply([listener(&stack.filter(plugin)).into()]).await.unwrap();
        until("the lease to be given anew", async || {
            (stack.metric("feed.opened").await > opened).then_some(())
        })
        .await
        .unwrap();
        if holder_thread(stack).await != stack.envoy(0).pid() {
            return;
        }
    }
    panic!("the main thread's VM got the lease {ROUNDS} times in a row");
}

/// The id of the thread whose VM holds the lease: it says so in the log when it loses its stream. The main thread's
/// is that of the process.
async fn holder_thread(stack: &mut Stack) -> u32 {
    let ended = |stack: &Stack| {
        let log = stack.envoy(0).log().text();
        log.lines().filter(|line| line.contains(STREAM_ENDED)).map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let before = ended(stack).len();
    let snapshots = stack.metric("feed.snapshot").await;
    stack.controller().stop().await;
    let line = until("the holder's word", async || ended(stack).get(before).cloned()).await.unwrap();
    stack.controller().start_again().await;
    until("a snapshot", async || (stack.metric("feed.snapshot").await > snapshots).then_some(()))
        .await
        .unwrap();
    // [time][thread][level]...
    line.split(['[', ']']).filter(|part| !part.is_empty()).nth(1).unwrap().parse().unwrap()
}

/// A change of the pools arrives in every worker.
async fn wait_pools_arrive(stack: &mut Stack, workers: &mut [Connection]) {
    let fewer = stack.pools(&[(MODEL, 0..2)]);
    stack.controller().set_pools(&fewer);
    for worker in workers {
        until("the pools to change", async || {
            let candidates = explain(worker, &completion(MODEL, "")).await?;
            (candidates.len() == 2).then_some(())
        })
        .await
        .unwrap();
    }
}
