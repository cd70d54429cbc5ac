//! What a real vLLM published and found, message for message: blocks to text, against the engine's own counts.
//!
//! `tests/live/capture.py` has captured it. `blocks.rs` has made events, which show more cases and no engine.

use std::collections::BTreeSet;
use tokenizers::Tokenizer as Reference;
use warmpath::events::Step;
use warmpath::events::blocks::{Blocks, Chains};
use warmpath::events::frame::{Skipped, decode};
use warmpath::events::tokens::{Before, Tokenizer};
use warmpath_core::ids::{CellHash, FormatId};
use warmpath_core::prompt::{Api, Request, Root, cells_of};
use warmpath_core::time::Timestamp;

const CONVERSATION: &str = include_str!("../fixtures/events/conversation.txt");
const TOKENIZER: &str = include_str!("../../../tests/engine/data/tiny-model/tokenizer.json");
const CELL_BYTES: usize = 32;
/// Of the blocks of that engine.
const BLOCK_TOKENS: usize = 32;
const FORMAT: FormatId = FormatId(7);

/// Evictions, a reset, an adapter and a salt: what an engine has published before a prompt comes shows what it then finds.
#[test]
fn what_a_real_engine_finds_is_what_it_has_published() {
    let tokenizer = Tokenizer::read(TOKENIZER.as_bytes()).unwrap();
    let chains = Chains { pool: "pool", format: FORMAT, cell_bytes: CELL_BYTES, tokens: &tokenizer.tokens };
    let (mut blocks, mut held) = (Blocks::new(1), BTreeSet::new());
    let (mut requests, mut found) = (0, 0);
    for line in CONVERSATION.lines().filter(|line| !line.starts_with('#')) {
        let (kind, rest) = line.split_once(' ').unwrap();
        if kind == "message" {
            let decoded = decode(&payload_of(rest)).unwrap();
            assert_eq!(decoded.skipped, Skipped::default());
            blocks.step(0, &Step::Apply(decoded.batch), &chains, Timestamp::ZERO);
            let changes = blocks.drain();
            held.retain(|cell| !changes.is_cleared && !changes.removed.contains(cell));
            held.extend(changes.stored.into_iter().map(|(_, cell)| cell));
            continue;
        }
        let request = Asked::read(rest);
        let ends = request.token_ends(&tokenizer);
        let chain = request.chain();
        let cells = chain.iter().take_while(|cell| held.contains(*cell)).count();
        let within = |cells: usize| ends.iter().take_while(|end| **end <= cells * CELL_BYTES).count();
        // A cell is held with its last byte. An engine computes the last token of a prompt in any case, and its block with it.
        let is_right = within(cells) <= request.cached + BLOCK_TOKENS && request.cached <= within(cells + 1);
        assert!(is_right, "{cells} of {} cells are {} tokens: {request:?}", chain.len(), within(cells));
        (requests, found) = (requests + 1, found + usize::from(request.cached > 0));
    }
    assert_eq!((requests, found), (22, 14), "the fixture has changed");
}

/// A prompt, and how many of its tokens the engine had.
#[derive(Debug)]
struct Asked {
    prompt: String,
    adapter: String,
    salt: String,
    tokens: usize,
    cached: usize,
}

impl Asked {
    fn read(line: &str) -> Self {
        let parts: Vec<&str> = line.splitn(3, ' ').collect();
        let fields: serde_json::Value = serde_json::from_str(parts[2]).unwrap();
        let field = |name: &str| fields[name].as_str().unwrap_or_default().to_owned();
        Self {
            prompt: field("prompt"),
            adapter: field("adapter"),
            salt: field("salt"),
            tokens: parts[1].parse().unwrap(),
            cached: parts[0].parse().unwrap(),
        }
    }

    /// The cells of the prompt, as the filter computes them.
    fn chain(&self) -> Vec<CellHash> {
        let body = serde_json::json!({"model": "m", "prompt": self.prompt}).to_string();
        let request = Request::parse(Api::Completions, body.as_bytes()).unwrap();
        let mut chain = Vec::new();
        cells_of(
            &request,
            Root::new("pool", &self.adapter, &self.salt).written(FORMAT),
            CELL_BYTES,
            &mut chain,
        );
        chain
    }

    /// Where in the text each token ends.
    fn token_ends(&self, tokenizer: &Tokenizer) -> Vec<usize> {
        let reference: Reference = TOKENIZER.parse().expect("a tokenizer");
        let tokens = reference.encode(self.prompt.as_str(), false).expect("tokens");
        assert_eq!(tokens.len(), self.tokens, "the engine's tokens are those of the tokenizer");
        let mut text = Vec::new();
        let ends = tokens.get_ids().iter().map(|token| {
            tokenizer.tokens.append(&[*token], Before::Text, &mut text).unwrap();
            text.len()
        });
        ends.collect()
    }
}

/// Of a message's line, behind its number.
fn payload_of(line: &str) -> Vec<u8> {
    let (_, payload) = line.split_once(' ').unwrap();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    payload.as_bytes().chunks(2).map(byte).collect()
}
