//! What one worker learns, its sibling uses at once, and another Envoy a moment later. How long the moment is:
//! `examples/sharing.rs`.

use crate::stack::{MODEL, Setup, Stack, completion, engine_of, explain, prompt, send};
use warmpath_envoy::until;
use warmpath_http::Connection;

#[tokio::test]
async fn a_sibling_worker_and_another_envoy_use_what_one_worker_learned() {
    let stack = Stack::start(Setup { envoys: 2, workers: 2, ..Setup::default() }).await;
    let mut workers: Vec<Connection> = stack.connections(0).await;
    workers.extend(stack.connections(1).await);
    for (topic, from) in ["first", "second", "third", "fourth"].into_iter().zip(0..4) {
        let body = completion(MODEL, &prompt(topic));
        let engine = engine_of(&send(&mut workers[from], &body).await).to_owned();
        let holder = stack.engine_named(&engine).addr().to_string();
        for (to, worker) in workers.iter_mut().enumerate() {
            until(&format!("worker {to} to know what worker {from} did"), async || {
                let best = explain(worker, &body).await?.into_iter().next()?;
                (best.endpoint == holder && best.cells > 0).then_some(())
            })
            .await
            .unwrap();
            assert_eq!(engine_of(&send(worker, &body).await), engine, "worker {to} after {from}");
        }
    }
}
