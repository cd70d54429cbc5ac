//! How fast the model runs on simulated time: long traces through eight engines, one core, no wall clock in it.
//!
//! `cargo run --release -p warmpath-engine --example speed`. Loads of 10,000 requests: a chat load that the engines
//! can carry, the same at four times the rate, and long sessions that no GPU can hold; the first and the last also
//! with tiers, through which then nearly all prompts move.
//! The checksum is over all events but tokens: a change that is only about speed leaves it alone.
#![allow(
    clippy::print_stdout,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a measuring tool that prints small counts"
)]

use anyhow::Context;
use std::time::Instant;
use warmpath_engine::{
    Engine, Params, Preset,
    model::{Event, EventKind, Request, RequestId, Root, Tier, TierParams, chain_of_ids},
};

const ENGINES: usize = 8;
const REQUESTS: u64 = 10_000;
const BLOCK_TOKENS: usize = 16;
/// Sessions that take turns in the session load.
const SESSIONS: u64 = 400;

/// A kind of request; `random` is even over all numbers.
type Shape = fn(id: u64, random: u64) -> Prompt;

struct Prompt {
    tokens: usize,
    output_tokens: usize,
    /// Blocks that others share, and with whom.
    shared_blocks: usize,
    group: u64,
}

/// 12,000 tokens and 350 of output on average; a prefix of 0 to 300 blocks shared among one of 400 groups.
fn chat(_: u64, random: u64) -> Prompt {
    Prompt {
        tokens: 4_000 + (random % 16_000) as usize,
        output_tokens: 50 + (random / 16_000 % 600) as usize,
        shared_blocks: (random / 10_000_000_000 % 300) as usize,
        group: random / 16_000_000 % 400,
    }
}

/// Prompts of 20,000 tokens that grow by 3,000 a turn.
fn session(id: u64, random: u64) -> Prompt {
    let tokens = 20_000 + (id / SESSIONS) as usize * 3_000;
    Prompt {
        tokens,
        output_tokens: 50 + (random % 600) as usize,
        shared_blocks: usize::MAX,
        group: id % SESSIONS,
    }
}

fn requests(shape: Shape) -> Vec<Request> {
    let root = Root::new("speed", "", "");
    let request = |id: u64| {
        let Prompt { tokens, output_tokens, shared_blocks, group } =
            shape(id, root.fingerprint(&id.to_le_bytes()));
        let blocks = (tokens + output_tokens) / BLOCK_TOKENS;
        let name = |at: usize| if at < shared_blocks { group } else { REQUESTS + id };
        let ids = (0..blocks).map(|at| name(at) << 32 | at as u64);
        Request::new(RequestId(id), tokens, output_tokens, chain_of_ids(root, ids))
    };
    (0..REQUESTS).map(request).collect()
}

/// Mixes what happened into a number that depends on all of it and its order.
fn fold(sum: u64, event: &Event) -> u64 {
    let kind = match event.kind {
        EventKind::Token => return sum,
        EventKind::Admitted { cached_tokens } => cached_tokens as u64 + 100,
        EventKind::FirstToken => 1,
        EventKind::Preempted => 3,
        _ => 4,
    };
    let fact = event.at_s.to_bits().wrapping_add(event.id.0 * 31).wrapping_add(kind);
    sum.rotate_left(5) ^ fact.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn run(name: &str, params: &Params, shape: Shape, per_s: f64) -> anyhow::Result<()> {
    let requests = requests(shape);
    let mut engines: Vec<_> = (0..ENGINES).map(|_| Engine::new(params.clone())).collect();
    let started = Instant::now();
    let (mut sum, mut now_s) = (0, 0.0);
    for request in requests {
        for engine in &mut engines {
            sum = engine.advance(now_s).iter().fold(sum, fold);
        }
        let at = (request.id.0 % ENGINES as u64) as usize;
        engines.get_mut(at).context("the remainder is an index")?.submit(now_s, request)?;
        now_s += 1.0 / per_s;
    }
    for engine in &mut engines {
        while let Some(at_s) = engine.next_step_at() {
            sum = engine.advance(at_s).iter().fold(sum, fold);
        }
    }
    let wall_s = started.elapsed().as_secs_f64();
    let stats: Vec<_> = engines.iter().map(Engine::stats).collect();
    let total = |of: fn(&warmpath_engine::model::Stats) -> u64| stats.iter().map(of).sum::<u64>();
    println!(
        "{name:12} {REQUESTS} requests, {} steps, {} tokens, {} preemptions, {:.0} % cached, checksum {sum:016x}: {wall_s:.2} s",
        total(|stats| stats.steps),
        total(|stats| stats.generation_tokens),
        total(|stats| stats.preemptions),
        100.0 * total(|stats| stats.prefix_cache_hits) as f64
            / total(|stats| stats.prefix_cache_queries) as f64,
    );
    Ok(())
}

fn main() -> anyhow::Result<()> {
    let preset = Preset::Qwen3On2;
    let plain = Params { emits_tokens: false, ..Params::new(preset) };
    let tiers =
        vec![TierParams::new(preset, Tier::Cpu, 2_000_000), TierParams::new(preset, Tier::Disk, 20_000_000)];
    let tiered = Params { tiers, ..plain.clone() };
    run("chat", &plain, chat, 4.5)?;
    run("all tokens", &Params { emits_tokens: true, ..plain.clone() }, chat, 4.5)?;
    run("overload", &plain, chat, 20.0)?;
    run("chat, tiers", &tiered, chat, 4.5)?;
    run("sessions", &plain, session, 2.0)?;
    run("same, tiers", &tiered, session, 2.0)
}
