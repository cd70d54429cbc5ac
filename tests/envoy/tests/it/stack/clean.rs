//! What must be true when all clients have gone: nothing is under way, nothing is promised, nothing trapped.

use super::ask::Candidate;
use super::{MODEL, Stack, completion, explain};
use warmpath_envoy::until;

/// Fails unless the first Envoy comes to rest.
pub(crate) async fn assert_at_rest(stack: &Stack) {
    let envoy = stack.envoy(0);
    assert!(envoy.is_running());
    for gauge in ["http.gateway.downstream_rq_active", "cluster.engines.upstream_rq_active"] {
        until(&format!("{gauge} to be 0"), async || {
            (envoy.admin().stat(gauge).await.unwrap() == 0).then_some(())
        })
        .await
        .unwrap();
    }
    let mut seen = Vec::new();
    let rest = until("every worker to promise nothing", async || {
        seen = promises(stack).await;
        let is_idle = |candidates: &Vec<Candidate>| candidates.iter().all(|one| one.requests == 0);
        seen.iter().all(|worker| worker.as_ref().is_some_and(is_idle)).then_some(())
    })
    .await;
    rest.unwrap_or_else(|wait| panic!("{wait}; by worker: {seen:#?}"));
    let log = envoy.log().text();
    let wrong: Vec<_> =
        log.lines().filter(|line| line.contains("[error]") || line.contains("[critical]")).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(stack.metric("malformed").await, 0);
}

/// What each worker of the first Envoy promises its endpoints; `None` of one that has no candidates. Over connections of their own:
/// where bodies are withheld, Envoy closes one whose request the filter has answered before its body came.
async fn promises(stack: &Stack) -> Vec<Option<Vec<Candidate>>> {
    let mut promises = Vec::new();
    for worker in &mut stack.connections(0).await {
        promises.push(explain(worker, &completion(MODEL, "")).await);
    }
    promises
}
