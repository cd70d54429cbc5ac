//! A VM traps. Envoy answers 503 to the request that did it and to those under way in the same VM, and builds the
//! VM anew; nobody else notices.
//!
//! Each worker's VM is made to trap in turn while the other serves. Which VM holds the lease of the uplink does not
//! matter here; `trapped_holder` is about that.

use crate::stack::{
    Build, MODEL, PATH, Setup, Stack, TRAP_HEADER, completion, engine_of, explain, prompt, send,
};
use futures::future::join_all;
use http::{Method, StatusCode};
use warmpath_engine::Fault;
use warmpath_envoy::until;
use warmpath_http::{Client, Connection};

/// Requests of the other worker while one traps, and of all workers afterwards.
const REQUESTS: usize = 500;
/// Requests that are under way in a VM when it traps.
const UNDER_WAY: usize = 5;

#[tokio::test]
async fn only_the_request_that_trapped_is_lost() {
    let setup = Setup { workers: 2, build: Build::Faulty, ..Setup::default() };
    let mut stack = Stack::start(setup).await;
    let mut workers = stack.connections(0).await;
    let known = completion(MODEL, &prompt("learned before"));
    let holder = engine_of(&send(&mut workers[0], &known).await).to_owned();
    // A VM that traps takes along what is pending for the log: that the request was served goes there with the counts.
    stack.counted("outcome.served", 1).await;

    for trapped in 0..2 {
        let mut other = workers.swap_remove(1 - trapped);
        let mut worker = workers.remove(0);
        let (beside, status) = tokio::join!(talk(&mut other, REQUESTS), trap(&mut worker));
        assert_eq!(beside, [0; 0], "requests of the other worker that were lost");
        assert_eq!(status, Some(StatusCode::SERVICE_UNAVAILABLE), "Envoy's own answer");
        wait_built_anew(&stack, trapped).await;
        workers = stack.connections(0).await;
    }
    for worker in &mut workers {
        assert_eq!(talk(worker, REQUESTS).await, [0; 0], "requests after the trap that were lost");
        wait_nothing_promised(worker).await;
        assert_eq!(engine_of(&send(worker, &known).await), holder, "what was learned is kept");
    }
    assert_eq!(stack.envoy(0).admin().stat("wasm.warmpath.router.vm_reload_success").await.unwrap(), 2);
    wait_uplink_goes_on(&mut stack, &mut workers[0]).await;
}

/// The feed lives: a change of the pools arrives.
async fn wait_uplink_goes_on(stack: &mut Stack, worker: &mut Connection) {
    let fewer = stack.pools(&[(MODEL, 0..2)]);
    stack.controller().set_pools(&fewer);
    until("the pools to change", async || {
        let candidates = explain(worker, &completion(MODEL, "")).await?;
        (candidates.len() == 2).then_some(())
    })
    .await
    .unwrap();
}

/// Sends requests one after the other, and returns the numbers of those that were not answered with 200.
pub(super) async fn talk(worker: &mut Connection, requests: usize) -> Vec<usize> {
    let mut lost = Vec::new();
    for at in 0..requests {
        let body = completion(MODEL, &prompt(&format!("topic {}", at % 16)));
        if send(worker, &body).await.status != StatusCode::OK {
            lost.push(at);
        }
    }
    lost
}

/// Waits until a worker whose VM trapped serves again. Envoy builds no VM anew that is younger than its back-off
/// of 100 ms; until then it answers 503 and closes the connection.
pub(super) async fn wait_built_anew(stack: &Stack, worker: usize) {
    until("the VM to be built anew", async || {
        talk(&mut stack.connections(0).await[worker], 1).await.is_empty().then_some(())
    })
    .await
    .unwrap();
}

/// The status of a request that traps.
pub(crate) async fn trap(worker: &mut Connection) -> Option<StatusCode> {
    let body = completion(MODEL, "trap").to_string().into();
    let response = worker.send(Method::POST, PATH, &[TRAP_HEADER], body).await;
    response.ok().map(|response| response.status)
}

#[tokio::test]
async fn requests_under_way_in_the_trapped_vm_are_ended_by_envoy_and_no_later_one() {
    let stack = Stack::start(Setup { build: Build::Faulty, ..Setup::default() }).await;
    let gateway = stack.gateway(0).await;
    for at in 0..3 {
        stack.engine(at).fault(Fault::Stall).await;
    }
    let under_way = (0..UNDER_WAY).map(|at| async move {
        let body = completion(MODEL, &prompt(&format!("under way {at}")));
        Client::http1(gateway).post_json(PATH, &body).await.unwrap()
    });
    let trapped = async {
        until("all requests to wait for their engines", async || {
            let active = stack.envoy(0).admin().stat("cluster.engines.upstream_rq_active").await.unwrap();
            (active == u64::try_from(UNDER_WAY).unwrap()).then_some(())
        })
        .await
        .unwrap();
        let status = trap(&mut Connection::open(gateway).await.unwrap()).await;
        for at in 0..3 {
            stack.engine(at).fault(Fault::Clear).await;
        }
        status
    };
    let (answers, status) = tokio::join!(join_all(under_way), trapped);
    assert_eq!(status, Some(StatusCode::SERVICE_UNAVAILABLE));
    for answer in answers {
        // Their filters are gone with the VM. Envoy could not know what these would have done to the answer.
        assert_eq!((answer.status, answer.header("x-engine")), (StatusCode::SERVICE_UNAVAILABLE, None));
    }

    wait_built_anew(&stack, 0).await;
    let worker = &mut stack.connections(0).await[0];
    assert_eq!(talk(worker, REQUESTS).await, [0; 0], "requests after the trap that were lost");
    wait_nothing_promised(worker).await;
}

/// What a trapped VM had promised is believed until it has been silent for some seconds.
async fn wait_nothing_promised(worker: &mut Connection) {
    until("the promises of the dead to expire", async || {
        let candidates = explain(worker, &completion(MODEL, "")).await?;
        candidates.iter().all(|candidate| candidate.requests == 0).then_some(())
    })
    .await
    .unwrap();
}
