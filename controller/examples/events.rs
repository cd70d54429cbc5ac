//! The decoder of KV events alone: what it costs, and what garbage does to it.
//!
//! `cargo run --release -p warmpath --example events -- load [tokens in a block]`: messages of an engine that stores prompts and
//! evicts others, decoded and judged; blocks a second of one core.
//!
//! `cargo run --release -p warmpath --example events -- fuzz [seconds] [seed]`: real messages with changes, until the time is up;
//! the number of executions and the seed.

#![expect(
    clippy::print_stdout,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::unwrap_used,
    reason = "it prints figures, and panics where something is wrong"
)]

use bytes::Bytes;
use std::error::Error;
use std::time::{Duration, Instant};
use warmpath::events::frame::{Message, decode};
use warmpath::events::trust::{Content, Follower};
use warmpath_core::time::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

const VLLM: &str = include_str!("../tests/fixtures/events/vllm.txt");
/// Blocks that one message stores, and that another one removes.
const PROMPT_BLOCKS: u64 = 64;
const MESSAGES: u64 = 20_000;
/// Changes of one message at most.
const CHANGES_MAX: u64 = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u64| args.get(at).map_or(Ok(default), |arg| arg.parse());
    match args.first().map(String::as_str) {
        Some("load") => load(number(1, 16)?),
        Some("fuzz") => fuzz(Duration::from_secs(number(1, 60)?), number(2, 1)?),
        _ => println!("load [tokens in a block] | fuzz [seconds] [seed]"),
    }
    Ok(())
}

/// Decodes what an engine publishes at most, and judges it.
fn load(block_tokens: u64) {
    let messages: Vec<Vec<u8>> = (0..MESSAGES).map(|number| message(number, block_tokens)).collect();
    let bytes: usize = messages.iter().map(Vec::len).sum();
    let mut follower = Follower::new(false);
    follower.connected(Timestamp::ZERO);
    let (mut steps, start) = (0, Instant::now());
    for (sequence, payload) in (0..).zip(&messages) {
        let content = Content { decoded: decode(payload), digest: xxh3_64(payload), bytes: payload.len() };
        steps += follower.published(sequence, content, Timestamp::ZERO).steps.len();
    }
    let seconds = start.elapsed().as_secs_f64();
    assert!(steps as u64 >= MESSAGES, "every message has events");
    let blocks = (MESSAGES * PROMPT_BLOCKS) as f64;
    println!(
        "{MESSAGES} messages, each of {PROMPT_BLOCKS} blocks of {block_tokens} tokens and as many removals, {} MB: \
         {:.0} blocks stored and removed a second of one core, {:.0} MB/s",
        bytes / 1_000_000,
        blocks / seconds,
        bytes as f64 / seconds / 1e6
    );
}

/// A message as vLLM writes it: one event for a prompt, one for each block that makes room.
fn message(number: u64, block_tokens: u64) -> Vec<u8> {
    let mut bytes = vec![0x93, 0xcb];
    bytes.extend(0_f64.to_be_bytes());
    bytes.extend([0xdd]);
    bytes.extend(u32::try_from(PROMPT_BLOCKS + 1).unwrap().to_be_bytes());
    text(&mut bytes, 0x8b, &["type", "BlockStored", "block_hashes"]);
    array(&mut bytes, PROMPT_BLOCKS);
    (0..PROMPT_BLOCKS).for_each(|block| hash(&mut bytes, number * PROMPT_BLOCKS + block));
    text(&mut bytes, 0, &["parent_block_hash"]);
    bytes.push(0xc0);
    text(&mut bytes, 0, &["token_ids"]);
    array(&mut bytes, PROMPT_BLOCKS * block_tokens);
    for token in 0..PROMPT_BLOCKS * block_tokens {
        bytes.push(0xce);
        bytes.extend(u32::try_from((token * 7_919 + number) % 150_000).unwrap().to_be_bytes());
    }
    text(&mut bytes, 0, &["block_size"]);
    bytes.extend([0xcd, 0, u8::try_from(block_tokens).unwrap()]);
    for absent in ["lora_id", "lora_name"] {
        text(&mut bytes, 0, &[absent]);
        bytes.push(0xc0);
    }
    text(&mut bytes, 0, &["medium", "GPU", "extra_keys"]);
    array(&mut bytes, PROMPT_BLOCKS);
    bytes.extend(vec![0xc0; usize::try_from(PROMPT_BLOCKS).unwrap()]);
    text(&mut bytes, 0, &["group_idx"]);
    bytes.push(0);
    text(&mut bytes, 0, &["kv_cache_spec_kind", "full_attention"]);
    for block in 0..PROMPT_BLOCKS {
        text(&mut bytes, 0x84, &["type", "BlockRemoved", "block_hashes"]);
        bytes.push(0x91);
        hash(&mut bytes, number.saturating_sub(1_000) * PROMPT_BLOCKS + block);
        text(&mut bytes, 0, &["medium", "GPU", "group_idx"]);
        bytes.push(0);
    }
    bytes.push(0);
    bytes
}

/// Short texts, after a marker if there is one.
fn text(bytes: &mut Vec<u8>, marker: u8, texts: &[&str]) {
    if marker != 0 {
        bytes.push(marker);
    }
    for text in texts {
        bytes.push(0xa0 + u8::try_from(text.len()).unwrap());
        bytes.extend(text.as_bytes());
    }
}

fn array(bytes: &mut Vec<u8>, length: u64) {
    bytes.push(0xdd);
    bytes.extend(u32::try_from(length).unwrap().to_be_bytes());
}

fn hash(bytes: &mut Vec<u8>, number: u64) {
    bytes.push(0xcf);
    bytes.extend(number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
}

/// Decodes changed messages and gives them to a follower, each number being as likely wrong as right.
fn fuzz(time: Duration, seed: u64) {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let lines = VLLM.lines().filter(|line| !line.starts_with('#'));
    let real: Vec<Vec<u8>> =
        lines.map(|line| line.rsplit(' ').next().unwrap().as_bytes().chunks(2).map(byte).collect()).collect();
    let mut random = seed;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below.max(1)
    };
    let mut follower = Follower::new(true);
    let (mut executions, mut understood, start) = (0_u64, 0_u64, Instant::now());
    while start.elapsed() < time {
        for _ in 0..1_000 {
            let mut payload = real.get(next(real.len() as u64) as usize).unwrap().clone();
            for _ in 0..next(CHANGES_MAX) {
                let at = next(payload.len() as u64) as usize;
                match next(4) {
                    0 => payload.truncate(at),
                    1 => payload.insert(at, next(256) as u8),
                    2 => drop(payload.drain(at..payload.len().min(at + next(16) as usize))),
                    _ => payload.get_mut(at).into_iter().for_each(|byte| *byte = next(256) as u8),
                }
            }
            let number = next(20).to_be_bytes();
            let parts = [Bytes::new(), Bytes::copy_from_slice(&number), Bytes::from(payload)];
            let Ok(Message { sequence, payload, .. }) = Message::published(&parts) else { continue };
            let decoded = decode(&payload);
            understood += u64::from(decoded.is_ok());
            let content = Content { decoded, digest: xxh3_64(&payload), bytes: payload.len() };
            let now = Timestamp::from_ms(executions);
            let _ = match next(8) {
                0 => follower.connected(now),
                1 => follower.disconnected(),
                2 => follower.replayed(next(4), sequence, content, now),
                3 => follower.replay_ended(next(4), now),
                4 => follower.tick(now),
                _ => follower.published(sequence, content, now),
            };
            executions += 1;
        }
    }
    println!("{executions} executions, {understood} of them understood, seed {seed}");
}
