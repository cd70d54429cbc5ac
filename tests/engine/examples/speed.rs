//! How fast the model itself runs: a long trace through eight engines on made-up time, one core.
#![allow(
    clippy::print_stdout,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a tool"
)]
use std::time::Instant;
use warmpath_engine::{Engine, Params, Preset, model::*};

fn main() {
    let n: u64 = 10_000;
    let rate = std::env::args().nth(1).map_or(4.5, |r| r.parse().unwrap());
    let root = Root::new("m", "", "");
    let reqs: Vec<Request> = (0..n)
        .map(|id| {
            let r = root.fingerprint(&id.to_le_bytes());
            let prompt = 4_000 + (r % 16_000) as usize;
            let output = 50 + (r / 16_000 % 600) as usize;
            let group = r / 16_000_000 % 400;
            let shared = r / 10_000_000_000 % 300;
            let blocks = ((prompt + output) / 16) as u64;
            let ids = (0..blocks)
                .map(|at| if at < shared { (group + 1) << 32 | at } else { (id + 1_000_000) << 32 | at });
            Request::new(RequestId(id), prompt, output, chain_of_ids(root, ids))
        })
        .collect();
    let mut engines: Vec<_> = (0..8).map(|_| Engine::new(Params::new(Preset::Qwen3On2))).collect();
    let t = Instant::now();
    let mut sum = 0u64;
    let mut count = 0u64;
    let mut eat = |events: Vec<Event>| {
        for e in events {
            if e.kind == EventKind::Token {
                continue;
            }
            count += 1;
            let k = match e.kind {
                EventKind::Admitted { cached_tokens } => cached_tokens as u64 + 100,
                EventKind::FirstToken => 1,
                EventKind::Preempted => 3,
                _ => 4,
            };
            sum = sum.rotate_left(5)
                ^ (e.at_s.to_bits().wrapping_add(e.id.0 * 31).wrapping_add(k))
                    .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    };
    let mut now = 0.0;
    for r in reqs {
        for e in &mut engines {
            eat(e.advance(now));
        }
        let at = (r.id.0 % 8) as usize;
        engines[at].submit(now, r).unwrap();
        now += 1.0 / rate;
    }
    for e in &mut engines {
        while let Some(at) = e.next_step_at() {
            eat(e.advance(at));
        }
    }
    let wall = t.elapsed().as_secs_f64();
    let s = engines.iter().map(Engine::stats).fold((0, 0, 0, 0), |a, s| {
        (a.0 + s.steps, a.1 + s.generation_tokens, a.2 + s.preemptions, a.3 + s.prefix_cache_hits)
    });
    println!(
        "events {count} steps {} tokens {} preemptions {} hits {} sum {sum:x} wall {wall:.3} s",
        s.0, s.1, s.2, s.3
    );
}
