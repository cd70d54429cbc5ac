//! Measures what following an engine's blocks costs: memory and processor time for a million blocks of conversations, and the time
//! that evictions take.
//!
//! `cargo run --release -p warmpath --example blocks -- [tokens in a block]`

#![expect(
    clippy::print_stdout,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "it prints figures"
)]

use std::error::Error;
use std::time::{Duration, Instant};
use warmpath::events::blocks::{BLOCKS_PER_RANK_MAX, Blocks, Chains};
use warmpath::events::tokens::Tokenizer;
use warmpath::events::{Batch, BlockHash, KvEvent, Step, StoredBlocks};
use warmpath_core::ids::FormatId;
use warmpath_core::limits::CELL_BYTES_DEFAULT;
use warmpath_core::time::Timestamp;
use warmpath_core::wire::Tier;

const TOKENIZER: &str = include_str!("../../tests/engine/data/tiny-model/tokenizer.json");
/// Blocks of one prompt.
const PROMPT_BLOCKS: u64 = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let block_tokens: u32 = std::env::args().nth(1).map_or(Ok(16), |arg| arg.parse())?;
    let tokenizer = Tokenizer::read(TOKENIZER.as_bytes())?;
    let chains = Chains {
        pool: "pool",
        format: FormatId(1),
        cell_bytes: CELL_BYTES_DEFAULT,
        tokens: &tokenizer.tokens,
    };
    let mut blocks = Blocks::new(1);
    let prompts = u64::try_from(BLOCKS_PER_RANK_MAX)? / PROMPT_BLOCKS;
    let count = (prompts * PROMPT_BLOCKS) as f64;
    let (mut random, mut text, mut cells) = (1_u64, 0, 0);
    let mut time = Duration::ZERO;
    let before = resident()?;
    for prompt in 0..prompts {
        let mut tokens = Vec::new();
        for _ in 0..PROMPT_BLOCKS * u64::from(block_tokens) {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            tokens.push(u32::try_from(300 + (random >> 40) % 1_600)?);
        }
        text += tokens.iter().filter_map(|token| tokenizer.tokens.of(*token)).map(<[u8]>::len).sum::<usize>();
        let event = KvEvent::Stored(StoredBlocks {
            hashes: (0..PROMPT_BLOCKS).map(|at| BlockHash(hash(prompt * PROMPT_BLOCKS + at))).collect(),
            parent: None,
            tokens,
            block_tokens,
            lora: None,
            extra_keys: Vec::new(),
            tier: Tier::Gpu,
            group: 0,
            kind: None,
        });
        let step = Step::Apply(Batch { events: vec![event] });
        let start = Instant::now();
        blocks.step(0, &step, &chains, Timestamp::ZERO);
        cells += blocks.drain().stored.len();
        time += start.elapsed();
    }
    let bytes_per_token = text as f64 / (count * f64::from(block_tokens));
    println!(
        "{count} blocks of {block_tokens} tokens, {bytes_per_token:.1} bytes of text in a token, {cells} cells"
    );
    let seconds = time.as_secs_f64();
    println!("stored:  {:.2} us a block, {:.0} cells/s", seconds * 1e6 / count, cells as f64 / seconds);
    println!("memory:  {:.0} bytes a block", resident()?.saturating_sub(before) as f64 / count);
    let start = Instant::now();
    let mut removed = 0;
    for prompt in 0..prompts {
        let hashes =
            (0..PROMPT_BLOCKS).rev().map(|at| BlockHash(hash(prompt * PROMPT_BLOCKS + at))).collect();
        let event = KvEvent::Removed { hashes, tier: Tier::Gpu, group: 0 };
        blocks.step(0, &Step::Apply(Batch { events: vec![event] }), &chains, Timestamp::ZERO);
        removed += blocks.drain().removed.len();
    }
    println!("removed: {:.2} us a block, {removed} cells", start.elapsed().as_secs_f64() * 1e6 / count);
    Ok(())
}

fn hash(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Bytes of memory of this process.
fn resident() -> Result<usize, Box<dyn Error>> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let pages: usize = pages.split(' ').nth(1).unwrap_or_default().parse()?;
    Ok(pages * 4096)
}
