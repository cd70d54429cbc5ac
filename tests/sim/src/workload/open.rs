//! A recorded trace by its own clock, or a faster or slower one.

use super::text::mix;
use super::{BASE_ADAPTER, LoraSpec, Session, Texts, Turn, Workload};
use crate::trace::{BLOCK_TOKENS, Recorded};

const MS_PER_S: f64 = 1_000.0;

/// The requests of a trace, `speed` times as fast as they came. `seed` decides their texts.
pub fn open(recorded: &[Recorded], speed: f64, seed: u64, texts: &mut Texts) -> Workload {
    open_for(recorded, speed, seed, texts, std::iter::repeat(BASE_ADAPTER))
}

/// The same, each request for an adapter.
pub fn open_lora(
    recorded: &[Recorded],
    speed: f64,
    lora: LoraSpec,
    seed: u64,
    texts: &mut Texts,
) -> Workload {
    open_for(recorded, speed, seed, texts, lora.draws(seed))
}

fn open_for(
    recorded: &[Recorded],
    speed: f64,
    seed: u64,
    texts: &mut Texts,
    adapters: impl Iterator<Item = u32>,
) -> Workload {
    let mut sessions = Vec::with_capacity(recorded.len());
    for (request, adapter) in recorded.iter().zip(adapters) {
        let parts = request.blocks.iter().enumerate().map(|(at, id)| {
            let tokens = (request.input_tokens - at * BLOCK_TOKENS).min(BLOCK_TOKENS);
            (mix(seed ^ id.rotate_left(20)), tokens)
        });
        let job = texts.job_for(adapter, parts, request.output_tokens);
        let start_s = request.at_ms / MS_PER_S / speed;
        sessions.push(Session { group: 0, start_s, turns: vec![Turn { think_s: 0.0, job }] });
    }
    Workload::by_clock(sessions)
}
