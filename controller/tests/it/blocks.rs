//! Cells of token blocks: against those that a proxy computes of the same text, and against a model that keeps the whole text of every
//! block and computes everything anew after each event.

use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use tokenizers::Tokenizer as Reference;
use warmpath::events::blocks::{Blocks, Chains, Changes};
use warmpath::events::tokens::{Before, Tokenizer};
use warmpath::events::{Batch, BlockHash, ExtraKey, KvEvent, Step, StoredBlocks};
use warmpath_core::ids::{CellHash, FormatId};
use warmpath_core::prompt::{Api, Request, Root, cells_of, next_cell};
use warmpath_core::time::Timestamp;
use warmpath_core::wire::Tier;

const TOKENIZER: &str = include_str!("../../../tests/engine/data/tiny-model/tokenizer.json");
const CELL_BYTES: usize = 32;
const TIERS: [Tier; 4] = [Tier::Gpu, Tier::Cpu, Tier::Disk, Tier::Remote];

static READ: LazyLock<Tokenizer> = LazyLock::new(|| Tokenizer::read(TOKENIZER.as_bytes()).unwrap());

pub(crate) fn chains() -> Chains<'static> {
    Chains { pool: "pool", format: FormatId(7), cell_bytes: CELL_BYTES, tokens: &READ.tokens }
}

/// What a proxy knows after the changes so far.
#[derive(Debug, Default)]
struct Published(BTreeMap<CellHash, Tier>);

impl Published {
    fn take(&mut self, changes: Changes) {
        if changes.is_cleared {
            self.0.clear();
        }
        for cell in changes.removed {
            assert!(self.0.remove(&cell).is_some(), "only what was stored is removed");
        }
        for (tier, cell) in changes.stored {
            assert_ne!(self.0.insert(cell, tier), Some(tier), "nothing is published twice");
        }
    }
}

/// An event of blocks that follow each other.
pub(crate) fn stored(hashes: &[u64], parent: Option<u64>, tokens: &[u32], tier: Tier) -> StoredBlocks {
    StoredBlocks {
        hashes: hashes.iter().copied().map(BlockHash).collect(),
        parent: parent.map(BlockHash),
        tokens: tokens.to_vec(),
        block_tokens: u32::try_from(tokens.len() / hashes.len()).unwrap(),
        lora: None,
        extra_keys: Vec::new(),
        tier,
        group: 0,
        kind: None,
    }
}

fn removed(hashes: &[u64], tier: Tier) -> KvEvent {
    KvEvent::Removed { hashes: hashes.iter().copied().map(BlockHash).collect(), tier, group: 0 }
}

/// One endpoint with one rank.
struct Endpoint {
    blocks: Blocks,
    published: Published,
    now: Timestamp,
}

impl Endpoint {
    fn new() -> Self {
        Self { blocks: Blocks::new(1), published: Published::default(), now: Timestamp::ZERO }
    }

    fn take(&mut self, event: KvEvent) -> &BTreeMap<CellHash, Tier> {
        self.blocks.step(0, &Step::Apply(Batch { events: vec![event] }), &chains(), self.now);
        self.published.take(self.blocks.drain());
        &self.published.0
    }

    fn store(&mut self, stored: StoredBlocks) -> &BTreeMap<CellHash, Tier> {
        self.take(KvEvent::Stored(stored))
    }
}

/// The chain of a completion's prompt, as the filter computes it.
fn chain_of(text: &str, adapter: &str, salt: &str) -> Vec<CellHash> {
    let body = serde_json::json!({"model": "m", "prompt": text}).to_string();
    let request = Request::parse(Api::Completions, body.as_bytes()).unwrap();
    let mut chain = Vec::new();
    let root = Root::new("pool", adapter, salt).written(FormatId(7));
    cells_of(&request, root, CELL_BYTES, &mut chain);
    chain
}

/// As many tokens as whole blocks of 8 have.
pub(crate) fn tokens_of(text: &str) -> Vec<u32> {
    let reference: Reference = TOKENIZER.parse().expect("a tokenizer");
    let mut tokens = reference.encode(text, false).expect("tokens").get_ids().to_vec();
    tokens.truncate(tokens.len() / 8 * 8);
    tokens
}

/// The text of those.
fn text_of(tokens: &[u32]) -> String {
    let mut text = Vec::new();
    READ.tokens.append(tokens, Before::Nothing, &mut text).unwrap();
    String::from_utf8_lossy(&text).into_owned()
}

pub(crate) const TEXT: &str = "The quick brown fox jumps over the lazy dog, and the licence permits every fox to do so, provided that the \
    above copyright notice and this permission notice appear in all copies. Příliš žluťoučký kůň. 中文也要.";

#[test]
fn the_cells_of_blocks_are_those_of_the_filter() {
    let tokens = tokens_of(TEXT);
    let count = u64::try_from(tokens.len() / 8).unwrap();
    let hashes: Vec<u64> = (1..=count).collect();
    let chain = chain_of(&text_of(&tokens), "", "");
    assert!(chain.len() > 3);
    let mut endpoint = Endpoint::new();
    let at_once = endpoint.store(stored(&hashes, None, &tokens, Tier::Gpu)).clone();
    assert_eq!(at_once.keys().copied().collect::<BTreeSet<_>>(), chain.into_iter().collect());
    let mut endpoint = Endpoint::new();
    for (hash, tokens) in hashes.iter().zip(tokens.chunks(8)) {
        endpoint.store(stored(&[*hash], (*hash > 1).then(|| hash - 1), tokens, Tier::Gpu));
    }
    assert_eq!(endpoint.published.0, at_once, "block by block");
}

#[test]
fn adapters_and_salts_have_chains_of_their_own() {
    let tokens = tokens_of(TEXT);
    let hashes: Vec<u64> = (1..=u64::try_from(tokens.len() / 8).unwrap()).collect();
    let text = |text: &str| ExtraKey::Text(text.to_owned());
    let held = |lora: Option<&str>, first: Vec<ExtraKey>, others: Vec<ExtraKey>| {
        let mut keys = vec![Some(others); hashes.len()];
        keys[0] = Some(first);
        let lora = lora.map(str::to_owned);
        let mut endpoint = Endpoint::new();
        let stored = StoredBlocks { lora, extra_keys: keys, ..stored(&hashes, None, &tokens, Tier::Gpu) };
        endpoint.store(stored).keys().copied().collect::<BTreeSet<_>>()
    };
    let chain = |adapter, salt| chain_of(&text_of(&tokens), adapter, salt).into_iter().collect();
    assert_eq!(held(None, vec![text("tenant-7")], vec![]), chain("", "tenant-7"));
    assert_eq!(held(Some("sql"), vec![text("sql")], vec![text("sql")]), chain("sql", ""));
    assert_eq!(held(Some("sql"), vec![text("sql"), text("t")], vec![text("sql")]), chain("sql", "t"));
    assert_eq!(held(None, vec![ExtraKey::Other], vec![]), BTreeSet::new(), "an image is no text");
    let (salt, image) = (vec![text("t")], vec![text("image")]);
    let begins = held(None, salt, image);
    assert!(begins.len() < 3 && begins.is_subset(&chain("", "t")), "what is before the image counts");
}

#[test]
fn a_block_that_leaves_takes_those_behind_it_along_until_it_returns() {
    let tokens = tokens_of(TEXT);
    let hashes: Vec<u64> = (1..=u64::try_from(tokens.len() / 8).unwrap()).collect();
    let mut endpoint = Endpoint::new();
    let all = endpoint.store(stored(&hashes, None, &tokens, Tier::Gpu)).clone();
    assert!(endpoint.take(removed(&hashes[..1], Tier::Gpu)).is_empty());
    assert_eq!(*endpoint.store(stored(&hashes[..1], None, &tokens[..8], Tier::Gpu)), all);
    endpoint.take(removed(&hashes, Tier::Gpu));
    assert!(endpoint.published.0.is_empty());
    assert_eq!((endpoint.blocks.blocks(), endpoint.blocks.cells()), (0, 0), "nothing is kept");
}

#[test]
fn blocks_that_come_by_name_are_in_another_tier() {
    let tokens = tokens_of(TEXT);
    let hashes: Vec<u64> = (1..=u64::try_from(tokens.len() / 8).unwrap()).collect();
    let mut endpoint = Endpoint::new();
    let named =
        StoredBlocks { tokens: Vec::new(), block_tokens: 0, ..stored(&hashes, None, &tokens, Tier::Cpu) };
    assert!(endpoint.store(named.clone()).is_empty(), "their text is not known yet");
    let all = endpoint.store(stored(&hashes, None, &tokens, Tier::Gpu)).clone();
    assert!(!all.is_empty() && all.values().all(|tier| *tier == Tier::Gpu));
    let below = endpoint.take(removed(&hashes, Tier::Gpu)).clone();
    assert!(below.keys().eq(all.keys()) && below.values().all(|tier| *tier == Tier::Cpu));
    assert_eq!(
        *endpoint.store(stored(&hashes[..1], None, &tokens[..8], Tier::Gpu)),
        below,
        "the lowest tier counts"
    );
}

#[test]
fn a_prompt_that_was_computed_twice_stays_until_both_have_left() {
    let tokens = tokens_of(TEXT);
    let mut endpoint = Endpoint::new();
    let once = endpoint.store(stored(&[1, 2, 3, 4], None, &tokens[..32], Tier::Gpu)).clone();
    assert_eq!(*endpoint.store(stored(&[1, 2, 3, 4], None, &tokens[..32], Tier::Gpu)), once);
    assert_eq!(*endpoint.take(removed(&[1, 2, 3, 4], Tier::Gpu)), once);
    assert!(endpoint.take(removed(&[1, 2, 3, 4], Tier::Gpu)).is_empty());
}

#[test]
fn an_engine_that_reports_blocks_again_leaves_nothing_behind() {
    let tokens = tokens_of(TEXT);
    let mut endpoint = Endpoint::new();
    for _ in 0..3 {
        endpoint.store(stored(&[1, 2, 3, 4], None, &tokens[..32], Tier::Gpu));
        endpoint.blocks.bound(64);
    }
    assert!(endpoint.take(removed(&[1, 2, 3, 4], Tier::Gpu)).is_empty(), "96 tokens are more than 64");
}

#[test]
fn orphans_wait_for_a_while() {
    let tokens = tokens_of(TEXT);
    let mut endpoint = Endpoint::new();
    assert!(endpoint.store(stored(&[3, 4], Some(2), &tokens[16..32], Tier::Gpu)).is_empty());
    let all = endpoint.store(stored(&[1, 2], None, &tokens[..16], Tier::Gpu)).clone();
    let chain = chain_of(&text_of(&tokens[..32]), "", "");
    assert_eq!(all.keys().copied().collect::<BTreeSet<_>>(), chain.into_iter().collect());
    let mut endpoint = Endpoint::new();
    endpoint.store(stored(&[3, 4], Some(2), &tokens[16..32], Tier::Gpu));
    endpoint.now = endpoint.now.plus_ms(60_000);
    let late = endpoint.store(stored(&[1, 2], None, &tokens[..16], Tier::Gpu)).len();
    assert!(late < all.len());
    assert_eq!((endpoint.blocks.counts().orphans, endpoint.blocks.counts().lost), (2, 2));
    for hash in 100..20_000 {
        endpoint.store(stored(&[hash], Some(99), &tokens[..8], Tier::Gpu));
    }
    assert!(endpoint.blocks.counts().lost > 10_000, "they are bounded");
}

#[test]
fn unknown_tokens_end_a_chain() {
    let mut tokens = tokens_of(TEXT);
    tokens[12] = 1_000_000;
    let hashes: Vec<u64> = (1..=u64::try_from(tokens.len() / 8).unwrap()).collect();
    let mut endpoint = Endpoint::new();
    let held = endpoint.store(stored(&hashes, None, &tokens, Tier::Gpu)).len();
    assert!(held <= 2, "{held}");
    assert_eq!(endpoint.blocks.counts().unknown_tokens, 1);
    assert!(endpoint.take(removed(&hashes, Tier::Gpu)).is_empty());
    assert_eq!(endpoint.blocks.blocks(), 0);
}

/// Each block behind an image walked to the beginning of its prompt.
#[test]
fn a_long_chain_behind_an_image_is_followed_block_by_block() {
    let mut endpoint = Endpoint::new();
    let image = vec![Some(vec![ExtraKey::Other])];
    let tokens = &tokens_of(TEXT)[..8];
    endpoint.store(StoredBlocks { extra_keys: image, ..stored(&[1], None, tokens, Tier::Gpu) });
    // A walk would look at two hundred million blocks.
    for hash in 2..=20_000 {
        endpoint.store(stored(&[hash], Some(hash - 1), tokens, Tier::Gpu));
    }
    assert_eq!((endpoint.blocks.counts().opaque, endpoint.blocks.cells()), (20_000, 0));
}

/// A block of the property test.
#[derive(Clone, Debug)]
struct Known {
    parent: Option<usize>,
    tokens: Vec<u32>,
    /// Of the first one of a prompt.
    salt: u8,
}

#[derive(Clone, Debug)]
enum Op {
    /// So many blocks that end with this one.
    Store {
        last: usize,
        count: usize,
        tier: usize,
        is_named: bool,
    },
    Remove {
        blocks: Vec<usize>,
        tier: usize,
    },
    Clear,
}

/// One rank, by the book.
#[derive(Debug, Default)]
struct Naive {
    held: BTreeMap<usize, [u32; 4]>,
    /// Held or kept, with a known text.
    placed: BTreeSet<usize>,
    /// Blocks whose tokens came since they were last nowhere.
    written: BTreeSet<usize>,
}

impl Naive {
    fn settle(&mut self, known: &[Known]) {
        loop {
            let ready = |at: &usize| {
                self.written.contains(at)
                    && !self.placed.contains(at)
                    && known[*at].parent.is_none_or(|parent| self.placed.contains(&parent))
            };
            let Some(at) = self.held.keys().copied().find(ready) else { break };
            self.placed.insert(at);
        }
        loop {
            let is_idle = |at: &usize| {
                !self.held.contains_key(at)
                    && !self.placed.iter().any(|child| known[*child].parent == Some(*at))
            };
            let Some(at) = self.placed.iter().copied().find(is_idle) else { break };
            self.placed.remove(&at);
        }
        let (held, placed) = (&self.held, &self.placed);
        self.written.retain(|at| held.contains_key(at) || placed.contains(at));
    }

    fn add(&mut self, at: usize, tier: usize) {
        let held = &mut self.held.entry(at).or_default()[tier];
        *held = if tier == 0 { *held + 1 } else { 1 };
    }

    fn apply(&mut self, op: &Op, known: &[Known]) {
        match op {
            Op::Store { tier, is_named, .. } => {
                for at in op.run(known) {
                    self.add(at, *tier);
                    if !is_named {
                        self.written.insert(at);
                    }
                }
                self.settle(known);
            }
            Op::Remove { blocks, tier } => {
                for at in blocks {
                    if let Some(held) = self.held.get_mut(at) {
                        held[*tier] = held[*tier].saturating_sub(1);
                        if *held == [0; 4] {
                            self.held.remove(at);
                        }
                    }
                    self.settle(known);
                }
            }
            Op::Clear => *self = Self::default(),
        }
    }

    /// Where a block and all before it are.
    fn level(&self, at: usize, known: &[Known]) -> Option<usize> {
        let own = self.held.get(&at)?.iter().position(|count| *count > 0)?;
        match known[at].parent {
            _ if !self.placed.contains(&at) => None,
            None => Some(own),
            Some(parent) => Some(own.max(self.level(parent, known)?)),
        }
    }

    fn cells(&self, known: &[Known], into: &mut BTreeMap<CellHash, usize>) {
        for at in &self.placed {
            let Some(level) = self.level(*at, known) else { continue };
            let (before, own) = split(*at, known);
            let start =
                Root::new("pool", "", &salt_of(first_of(*at, known), known)).written(FormatId(7)).start();
            let whole = [before.clone(), own].concat();
            let mut previous = start;
            for (count, cell) in whole.chunks_exact(CELL_BYTES).enumerate() {
                previous = next_cell(previous, cell);
                if count >= before.len() / CELL_BYTES {
                    let best = into.entry(previous).or_insert(level);
                    *best = level.min(*best);
                }
            }
        }
    }
}

impl Op {
    /// The blocks of a store, in order.
    fn run(&self, known: &[Known]) -> Vec<usize> {
        let Self::Store { last, count, .. } = self else { return Vec::new() };
        let path = std::iter::successors(Some(*last), |at| known[*at].parent);
        let mut run: Vec<usize> = path.take(*count).collect();
        run.reverse();
        run
    }

    fn event(&self, known: &[Known]) -> KvEvent {
        let hash = |at: usize| u64::try_from(at).unwrap() + 1;
        match self {
            Self::Clear => KvEvent::Cleared,
            Self::Remove { blocks, tier } => {
                removed(&blocks.iter().copied().map(hash).collect::<Vec<_>>(), TIERS[*tier])
            }
            Self::Store { tier, is_named, .. } => {
                let run = self.run(known);
                let hashes: Vec<u64> = run.iter().copied().map(hash).collect();
                let tokens: Vec<u32> = if *is_named {
                    vec![]
                } else {
                    run.iter().flat_map(|at| known[*at].tokens.clone()).collect()
                };
                let parent = known[run[0]].parent.map(hash).filter(|_| !is_named);
                let mut stored = stored(&hashes, parent, &tokens, TIERS[*tier]);
                let salt = salt_of(run[0], known);
                if parent.is_none() && !salt.is_empty() {
                    stored.extra_keys = vec![Some(vec![ExtraKey::Text(salt)])];
                    stored.extra_keys.resize(run.len(), None);
                }
                KvEvent::Stored(stored)
            }
        }
    }
}

fn first_of(at: usize, known: &[Known]) -> usize {
    known[at].parent.map_or(at, |parent| first_of(parent, known))
}

fn salt_of(at: usize, known: &[Known]) -> String {
    if known[at].salt == 0 { String::new() } else { known[at].salt.to_string() }
}

/// The text before a block, and its own.
fn split(at: usize, known: &[Known]) -> (Vec<u8>, Vec<u8>) {
    let before = known[at].parent.map(|parent| {
        let (before, own) = split(parent, known);
        [before, own].concat()
    });
    let mut own = Vec::new();
    READ.tokens.append(&known[at].tokens, Before::Text, &mut own).unwrap();
    (before.unwrap_or_default(), own)
}

/// Blocks of four tokens of a few texts, so that cells meet.
fn known() -> impl Strategy<Value = Vec<Known>> {
    let token = prop::sample::select(vec![5_u32, 300, 900, 1_700, 1_800]);
    let block = (any::<prop::sample::Index>(), prop::collection::vec(token, 4), 0..3_u8, 0..5_u8);
    prop::collection::vec(block, 1..24).prop_map(|blocks| {
        let known = blocks.into_iter().enumerate().map(|(at, (parent, tokens, salt, is_first))| {
            let parent = if at == 0 || is_first == 0 { None } else { Some(parent.index(at)) };
            Known { parent, tokens, salt }
        });
        known.collect()
    })
}

fn op() -> impl Strategy<Value = Op> {
    let tier = || prop_oneof![4 => Just(0_usize), 2 => Just(1), 1 => 2..4_usize];
    prop_oneof![
        6 => (0..24_usize, 1..6_usize, tier(), prop::bool::weighted(0.15))
            .prop_map(|(last, count, tier, is_named)| Op::Store { last, count, tier, is_named }),
        4 => (prop::collection::vec(0..24_usize, 1..4), tier())
            .prop_map(|(blocks, tier)| Op::Remove { blocks, tier }),
        1 => Just(Op::Clear),
    ]
}

proptest! {
    #[test]
    fn what_is_published_is_what_is_held(
        known in known(),
        ops in prop::collection::vec((0..2_u32, op(), any::<bool>()), 1..60),
    ) {
        let mut naive = [Naive::default(), Naive::default()];
        let mut blocks = Blocks::new(3);
        let mut published = Published::default();
        for (rank, mut op, is_last) in ops {
            match &mut op {
                Op::Store { last, .. } => *last %= known.len(),
                Op::Remove { blocks, .. } => blocks.iter_mut().for_each(|at| *at %= known.len()),
                Op::Clear => {}
            }
            naive[usize::try_from(rank).unwrap()].apply(&op, &known);
            blocks.step(rank, &Step::Apply(Batch { events: vec![op.event(&known)] }), &chains(), Timestamp::ZERO);
            // Several steps may be published at once.
            if !is_last {
                continue;
            }
            published.take(blocks.drain());
            let mut wanted = BTreeMap::new();
            for naive in &naive {
                naive.cells(&known, &mut wanted);
            }
            let wanted: BTreeMap<CellHash, Tier> =
                wanted.into_iter().map(|(cell, level)| (cell, TIERS[level])).collect();
            prop_assert_eq!(&published.0, &wanted);
            let placed: usize = naive.iter().map(|naive| naive.placed.len()).sum();
            prop_assert_eq!(blocks.blocks(), placed, "nothing is forgotten, and nothing is kept");
        }
    }
}
