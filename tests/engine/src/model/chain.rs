//! Block hashes: the identity of a prompt prefix inside one engine.
//!
//! Each full block is named by the hash of its content and of everything before it, so equal hashes mean
//! equal prefixes. The chain starts at a [`Root`] made of model, adapter and cache salt: nothing matches
//! across those. vLLM hashes pickled tuples with SHA-256; a 64-bit xxh3 chain has the same meaning at a
//! thousandth of the price, and one engine holds far too few blocks for a collision.
//!
//! The chain covers prompt *and* output, because the model also writes the blocks of the output into the cache, and the
//! output is known before it is "generated".

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Bytes of text that make one token. Real tokenizers average about four bytes of English a token; a fixed
/// cut keeps "equal text begins with equal tokens" true and costs nothing.
pub const TOKEN_BYTES: usize = 4;

/// The hash of one full block and of all blocks before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockHash(pub u64);

/// A map by block. The names are hashes already: one multiplication spreads them, also where tests use small ones.
pub(super) type BlockMap<V> = HashMap<BlockHash, V, BuildHasherDefault<BlockHasher>>;

/// The hasher of [`BlockMap`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BlockHasher(u64);

// === impl BlockHasher ===

impl Hasher for BlockHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn write_u64(&mut self, name: u64) {
        // An odd number without pattern: the fraction of the golden ratio.
        self.0 = name.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// The start of a chain: prompts under different roots share no blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Root(u64);

// === impl Root ===

impl Root {
    /// The root of a model, an adapter (empty: none) and a cache salt (empty: none).
    pub fn new(model: &str, adapter: &str, cache_salt: &str) -> Self {
        let seed = xxh3_64_with_seed(model.as_bytes(), 0);
        let seed = xxh3_64_with_seed(adapter.as_bytes(), seed);
        Self(xxh3_64_with_seed(cache_salt.as_bytes(), seed))
    }

    /// A root of one request's own, under which nothing is found: an engine without prefix caching.
    #[must_use]
    pub fn apart(self, request: u64) -> Self {
        Self(xxh3_64_with_seed(&request.to_le_bytes(), self.0))
    }

    /// A number for the whole `text` under this root, for everything that must be equal for equal prompts.
    pub fn fingerprint(self, text: &[u8]) -> u64 {
        xxh3_64_with_seed(text, self.0)
    }
}

/// Hashes of the full blocks of `text`, which is cut every `TOKEN_BYTES * block_tokens` bytes.
/// A last token of one to three bytes counts as a token, as [`tokens_of_bytes`] counts it.
pub fn chain_of_bytes(root: Root, text: &[u8], block_tokens: usize) -> Vec<BlockHash> {
    let full_blocks = tokens_of_bytes(text.len()) / block_tokens;
    let blocks = text.chunks(TOKEN_BYTES * block_tokens).take(full_blocks);
    link(root, blocks, |seed, block| xxh3_64_with_seed(block, seed))
}

/// Hashes of the full blocks of a token sequence; equal to [`chain_of_bytes`] of the tokens' little-endian bytes.
pub fn chain_of_tokens(root: Root, tokens: &[u32], block_tokens: usize) -> Vec<BlockHash> {
    let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
    chain_of_bytes(root, &bytes, block_tokens)
}

/// A chain over ready-made block ids, for traces that carry ids and no text.
pub fn chain_of_ids(root: Root, ids: impl IntoIterator<Item = u64>) -> Vec<BlockHash> {
    link(root, ids, |seed, id| xxh3_64_with_seed(&id.to_le_bytes(), seed))
}

/// How many tokens a text of `bytes` makes.
pub const fn tokens_of_bytes(bytes: usize) -> usize {
    bytes.div_ceil(TOKEN_BYTES)
}

fn link<T>(root: Root, blocks: impl IntoIterator<Item = T>, hash: impl Fn(u64, T) -> u64) -> Vec<BlockHash> {
    let mut seed = root.0;
    let mut next = |block| {
        seed = hash(seed, block);
        BlockHash(seed)
    };
    blocks.into_iter().map(&mut next).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> Root {
        Root::new("m", "", "")
    }

    #[test]
    fn equal_beginnings_give_equal_hashes_until_the_first_difference() {
        let mut other = vec![b'x'; 64 * 4];
        let one = chain_of_bytes(root(), &other, 16);
        other[130] = b'y';
        let two = chain_of_bytes(root(), &other, 16);
        assert_eq!(one[..2], two[..2]);
        assert!(one[2] != two[2] && one[3] != two[3], "a change renames every later block");
    }

    #[test]
    fn only_full_blocks_have_hashes_and_a_part_token_counts() {
        assert_eq!(chain_of_bytes(root(), &[0; 60], 16).len(), 0, "15 tokens");
        assert_eq!(chain_of_bytes(root(), &[0; 61], 16).len(), 1, "15 tokens and a byte");
        assert_eq!(chain_of_bytes(root(), &[0; 124], 16).len(), 1, "31 tokens");
    }

    #[test]
    fn tokens_and_their_bytes_are_the_same_prompt() {
        let tokens = [0x6161_6161_u32; 32];
        assert_eq!(chain_of_tokens(root(), &tokens, 16), chain_of_bytes(root(), &[b'a'; 128], 16));
    }

    #[test]
    fn roots_keep_models_adapters_and_salts_apart() {
        let roots = [("m", "", ""), ("n", "", ""), ("m", "a", ""), ("m", "", "a")];
        let hashes: std::collections::BTreeSet<_> = roots
            .iter()
            .map(|(model, adapter, salt)| chain_of_bytes(Root::new(model, adapter, salt), &[b'x'; 64], 16)[0])
            .collect();
        assert_eq!(hashes.len(), roots.len());
    }
}
