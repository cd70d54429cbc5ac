//! Measures how long it takes until every worker of two Envoys can use what an engine has published of its cache, while the engines
//! publish much else.
//!
//! ```sh
//! ./just wasm envoy && cargo run --release -p warmpath-envoy --example reports -- 10000
//! ```
//!
//! The argument is the number of blocks that all engines together store in a second; about as many are evicted. A prompt is sent to an
//! engine past Envoy. One clock runs from before that, and one from the end of the response, a moment after the engine has
//! published; both until the answer to a question (`x-warmpath-explain`) names the engine, for each worker.

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

use futures::future::join_all;
use serde_json::{Value, json};
use stack::{MODEL, Setup, Stack, completion, explain, prompt};
use std::{net::SocketAddr, path::Path, time::Duration};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use warmpath_engine::{KvEvents, Params, ServerConfig};
use warmpath_envoy::DEADLINE;
use warmpath_http::{Client, Connection};

const ENGINES: usize = 4;
const PROBES: usize = 300;
const BLOCK_TOKENS: u16 = 16;
/// Blocks of each engine: full after some seconds, so that evictions are published, too.
const BLOCKS: usize = 16_384;
/// Requests of each engine in a second that store the blocks.
const TICKS: u64 = 20;
/// Ids of the small model's vocabulary that are no special tokens.
const TOKENS: std::ops::Range<u64> = 3..2_000;

#[tokio::main]
async fn main() {
    let blocks_per_s: u64 = std::env::args().nth(1).map_or(1_000, |text| text.parse().unwrap());
    let stack = Stack::start(setup()).await;
    let mut workers = stack.connections(0).await;
    workers.extend(stack.connections(1).await);
    let engines = stack.addresses(0..ENGINES);
    let blocks = blocks_per_s / (TICKS * u64::try_from(engines.len()).unwrap());
    let load: Vec<_> = engines.iter().map(|engine| tokio::spawn(store(*engine, blocks))).collect();
    let past = Client::http1(engines[0]);
    let (mut since_request, mut since_response) = (Vec::new(), Vec::new());
    for at in 0..PROBES {
        let body = completion(MODEL, &prompt(&format!("probe {at} of many")));
        let before = Instant::now();
        past.post_json("/v1/completions", &body).await.unwrap();
        let after = Instant::now();
        let known = join_all(workers.iter_mut().map(|worker| known(worker, &body))).await;
        let last = known.into_iter().max().unwrap();
        since_request.push(last - before);
        since_response.push(last.saturating_duration_since(after));
    }
    for task in &load {
        task.abort();
    }
    let stored: usize = (0..ENGINES).map(|at| stack.engine(at).state().blocks_cached).sum();
    println!(
        "{PROBES} prompts, {blocks_per_s} blocks/s, {stored} blocks held; milliseconds until all of {} workers in 2 Envoys know",
        workers.len()
    );
    println!("  since the request:  {}", quantiles(&mut since_request));
    println!("  since the response: {}", quantiles(&mut since_response));
}

fn setup() -> Setup {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/data/tiny-model");
    let engine = ServerConfig {
        params: Params {
            kv_tokens: BLOCKS * usize::from(BLOCK_TOKENS),
            block_tokens: usize::from(BLOCK_TOKENS),
            ..ServerConfig::instant().params
        },
        model_dir: Some(folder.clone()),
        events: Some(KvEvents::default()),
        ..ServerConfig::instant()
    };
    let pool_fields = json!({ "prompt": { "tokenizer": folder.to_str().unwrap() } });
    let pools = vec![(MODEL, 0..ENGINES)];
    Setup {
        pools,
        engines: ENGINES,
        envoys: 2,
        workers: 2,
        kinds: vec![engine],
        pool_fields,
        ..Setup::default()
    }
}

/// Has an engine store so many new blocks at each tick, for ever.
async fn store(engine: SocketAddr, blocks: u64) {
    let client = Client::http1(engine);
    let mut random = u64::from(engine.port());
    let mut ticks = interval(Duration::from_secs(1) / u32::try_from(TICKS).unwrap());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let tokens: Vec<u64> = (0..blocks * u64::from(BLOCK_TOKENS)).map(|_| token(&mut random)).collect();
        let body = json!({ "model": MODEL, "prompt": tokens, "max_tokens": 1 });
        client.post_json("/v1/completions", &body).await.unwrap();
    }
}

/// The next of a sequence of tokens that looks random (xorshift).
fn token(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    TOKENS.start + *random % (TOKENS.end - TOKENS.start)
}

/// When the worker behind this connection first names a holder.
async fn known(worker: &mut Connection, body: &Value) -> Instant {
    let known = async {
        loop {
            let candidates = explain(worker, body).await.unwrap();
            if candidates.iter().any(|candidate| candidate.cells > 0) {
                return Instant::now();
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
