//! What engines publish of their KV caches: which token blocks they store and remove.
//!
//! ```text
//!   engine ═ ZMQ ═► zmtp ─► frame ─► trust ─► Report ─► blocks ─► cells
//!     │                                          tokens ──┘
//!     └ /kv_event_sources ─► sources ─► subscriber: one feed for each engine and rank
//! ```
//!
//! Engines number their messages. `frame` makes events of one message, `trust` judges by the numbers how far all of them
//! together can be relied on. `blocks` makes of token blocks the cells that proxies know, with the text of `tokens`.

pub mod blocks;
mod board;
mod feed;
pub mod format;
pub mod formats;
pub mod frame;
mod groups;
pub mod knowledge;
mod lines;
mod listen;
mod msgpack;
pub mod reporter;
mod sources;
mod subscriber;
pub mod tokens;
pub mod trust;
mod zmtp;

pub use board::{Board, Process, Seen};
pub use lines::Lines;
pub use sources::{RANKS_MAX, Source, Sources, TOPIC_BYTES_MAX};
pub use subscriber::{Feeds, Followed};

use std::net::SocketAddr;
use warmpath_core::wire::{Tier, Trust};

/// What one message says, in the engine's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The events.
    pub events: Vec<KvEvent>,
}

/// One change of an engine's cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvEvent {
    /// Blocks came into a tier.
    Stored(StoredBlocks),
    /// Blocks left a tier.
    Removed {
        /// Their names.
        hashes: Vec<BlockHash>,
        /// The tier. A block may stay in another one.
        tier: Tier,
        /// As in [`StoredBlocks::group`].
        group: u32,
    },
    /// Everything is gone.
    Cleared,
}

/// Blocks of one prompt that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBlocks {
    /// Their names, in the order of the prompt.
    pub hashes: Vec<BlockHash>,
    /// The block before the first of them; none where the prompt begins with it.
    pub parent: Option<BlockHash>,
    /// `block_tokens` for each block. Empty where an engine names blocks whose tokens it has published before.
    pub tokens: Vec<u32>,
    /// Tokens of one block; zero where there are no tokens.
    pub block_tokens: u32,
    /// The name of the LoRA adapter.
    pub lora: Option<String>,
    /// What else the engine's names depend on, one entry for each block; empty where no block has any.
    pub extra_keys: Vec<Option<Vec<ExtraKey>>>,
    /// Where they are.
    pub tier: Tier,
    /// The group of layers that the blocks are of: a model with several kinds of attention caches each on its own.
    pub group: u32,
    /// The group's kind of attention, in the engine's words.
    pub kind: Option<String>,
}

/// An engine's name for a block and all before it. Engines use integers or 32 bytes; of the latter this is a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockHash(pub u64);

/// One thing that an engine's name for a block depends on besides its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExtraKey {
    /// A text: the adapter's name (of each block), or the `cache_salt` (of the first block). Engines before vLLM 0.19 name
    /// images so as well.
    Text(String),
    /// Anything else: an image with its offset, a digest of embeddings. Text alone does not determine such a block.
    Other,
}

/// What is to be done after a message, or the lack of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Take these events.
    Apply(Batch),
    /// Rely on the endpoint's reports so far.
    Trust {
        /// How far.
        trust: Trust,
        /// Whether everything that was reported before is void.
        is_cleared: bool,
    },
    /// The engine has no such rank any more.
    Gone,
}

/// What is to be done about one rank of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The engine.
    pub endpoint: SocketAddr,
    /// Its data-parallel rank. What is void is void of this rank alone.
    pub rank: u32,
    /// In this order.
    pub steps: Vec<Step>,
}
