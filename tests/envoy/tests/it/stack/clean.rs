//! What must be true when all clients have gone: nothing is under way, nothing is promised, nothing trapped.

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
    for (at, worker) in stack.connections(0).await.iter_mut().enumerate() {
        until(&format!("worker {at} to promise nothing"), async || {
            let candidates = explain(worker, &completion(MODEL, "")).await?;
            candidates.iter().all(|candidate| candidate.requests == 0).then_some(())
        })
        .await
        .unwrap();
    }
    let log = envoy.log().text();
    let wrong: Vec<_> =
        log.lines().filter(|line| line.contains("[error]") || line.contains("[critical]")).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(stack.metric("malformed").await, 0);
}
