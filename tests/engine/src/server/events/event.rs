//! One KV event, before it is encoded.

use crate::model::{BlockHash, Tier};

/// A change of the cache, with all that vLLM says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) enum KvEvent {
    /// Blocks that follow one another in one prompt are on the GPU.
    Stored(Stored),
    /// A block is in a tier; what it holds was said when it came to the GPU.
    Sunk {
        /// Which.
        block: BlockHash,
        /// Where.
        tier: Tier,
    },
    /// A block is gone from the GPU, or from a tier.
    Removed {
        /// Which.
        block: BlockHash,
        /// From where; `None`: the GPU.
        tier: Option<Tier>,
    },
    /// Everything is gone.
    Cleared,
}

/// Blocks with their content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) struct Stored {
    pub(super) blocks: Vec<BlockHash>,
    /// The block before the first.
    pub(super) parent: Option<BlockHash>,
    /// The tokens of all blocks.
    pub(super) tokens: Vec<u32>,
    pub(super) block_tokens: usize,
    /// Number and name.
    pub(super) adapter: Option<(u32, String)>,
    /// What distinguishes each block from one with equal tokens.
    pub(super) extra_keys: Vec<Vec<String>>,
}
