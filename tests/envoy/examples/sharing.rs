//! Measures how long it takes until others use what one worker of Envoy has routed: its sibling in the same
//! process, and a worker of another Envoy that the controller joins.
//!
//! ```sh
//! ./just wasm envoy && cargo run --release -p warmpath-envoy --example sharing
//! ```
//!
//! The clock runs from before the request is sent until the answer to a question (`x-warmpath-explain`) over a
//! connection to the other worker names its holder, so the figures contain the way of the request and of the last
//! question. Both Envoys route: one that is alone with its controller tells it of a booking less soon. The tests only assert that it happens: how long it takes is the machine's business too.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a measurement shares the helpers of the tests, and ends where something is not as it must be"
)]

#[path = "../tests/it/stack/mod.rs"]
#[allow(dead_code, unused_imports, reason = "made for the tests, which use all of it")]
mod stack;

use serde_json::Value;
use stack::{MODEL, Setup, Stack, completion, explain, prompt, send};
use std::time::Duration;
use tokio::time::{Instant, timeout};
use warmpath_envoy::DEADLINE;
use warmpath_http::Connection;

/// Prefixes that are routed, one after the other.
const PREFIXES: usize = 200;
/// Rounds of requests of every worker before that: more than a second of them.
const UNCOUNTED: usize = 500;

#[tokio::main]
async fn main() {
    let stack = Stack::start(Setup { envoys: 2, workers: 2, ..Setup::default() }).await;
    let mut here = stack.connections(0).await;
    let mut there = stack.connections(1).await;
    // What does not count: until the controller has named both.
    for at in 0..UNCOUNTED {
        for connection in here.iter_mut().chain(&mut there) {
            send(connection, &completion(MODEL, &prompt(&format!("before {at}")))).await;
        }
    }
    let [worker, sibling] = &mut here[..] else { unreachable!("two workers") };
    let (mut to_sibling, mut to_other) = (Vec::new(), Vec::new());
    for at in 0..PREFIXES {
        let body = completion(MODEL, &prompt(&format!("prefix {at}")));
        let start = Instant::now();
        let (_, near, far) = tokio::join!(
            send(worker, &body),
            known_after(sibling, &body, start),
            known_after(&mut there[0], &body, start),
        );
        to_sibling.push(near);
        to_other.push(far);
    }
    println!("{PREFIXES} prefixes, milliseconds until it is known to ...");
    println!("  a sibling worker: {}", quantiles(&mut to_sibling));
    println!("  another Envoy:    {}", quantiles(&mut to_other));
}

/// When the worker behind this connection first names a holder.
async fn known_after(connection: &mut Connection, body: &Value, start: Instant) -> Duration {
    let known = async {
        loop {
            let candidates = explain(connection, body).await.unwrap();
            if candidates.iter().any(|candidate| candidate.cells > 0) {
                return start.elapsed();
            }
        }
    };
    timeout(DEADLINE, known).await.unwrap()
}

fn quantiles(times: &mut [Duration]) -> String {
    times.sort();
    let at =
        |hundredth: usize| times[(times.len() * hundredth / 100).min(times.len() - 1)].as_secs_f64() * 1e3;
    format!("p50 {:.1}, p90 {:.1}, p99 {:.1}, max {:.1}", at(50), at(90), at(99), at(100))
}
