//! The VM that holds the lease traps, and with it goes the stream to the controller. Another VM takes both over,
//! and requests do not notice.
//!
//! The VM of Envoy's main thread starts first and so gets the lease first, but it serves no request that could make
//! it trap: a request asks for whichever VM holds the lease.

use super::trap::{talk, wait_built_anew};
use crate::stack::{Build, MODEL, PATH, Setup, Stack, completion, explain};
use http::Method;
use warmpath_envoy::until;
use warmpath_http::Connection;

const WORKERS: u32 = 2;
/// Requests of each worker after the traps.
const REQUESTS: usize = 300;
/// Asks the VM with the lease to trap at its next tick.
const TRAP_HOLDER_HEADER: (&str, &str) = ("x-warmpath-test-trap", "holder");

#[tokio::test]
async fn another_vm_takes_over_from_a_holder_that_trapped() {
    let setup = Setup { workers: WORKERS, build: Build::Faulty, drain_s: 1, ..Setup::default() };
    let mut stack = Stack::start(setup).await;
    let mut workers = stack.connections(0).await;
    let mut streams = Vec::new();
    for round in 0..2 {
        let opened = stack.metric("feed.opened").await;
        // Whichever VM it is: at first that of the main thread, which serves no requests.
        ask_holder_to_trap(&mut workers[round % 2]).await;
        until("another stream", async || (stack.metric("feed.opened").await > opened).then_some(()))
            .await
            .unwrap();
        for worker in 0..2 {
            wait_built_anew(&stack, worker).await;
        }
        // Connections of before the trap are not trusted to be served by the same VM.
        workers = stack.connections(0).await;
        for worker in &mut workers {
            assert_eq!(talk(worker, REQUESTS).await, [0; 0], "requests without a holder that were lost");
        }
        let active = "cluster.warmpath_controller.upstream_rq_active";
        streams.push(stack.envoy(0).admin().stat(active).await.unwrap());
    }
    // Envoy builds the VM of its main thread not anew, and would keep its stream: the controller ends the older one of two.
    assert_eq!(streams, [1, 1]);
    wait_pools_arrive(&mut stack, &mut workers).await;
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

async fn ask_holder_to_trap(worker: &mut Connection) {
    let body = completion(MODEL, "trap the holder").to_string().into();
    // It may be this worker's VM, and trap before the response.
    let _ = worker.send(Method::POST, PATH, &[TRAP_HOLDER_HEADER], body).await;
}
