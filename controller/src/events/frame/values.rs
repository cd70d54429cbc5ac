//! The fields of an event that are lists, or of several forms: names of blocks, tokens, extra keys.
//!
//! Each is read into as little as is used of it, and nothing beyond its bound. Apart from the events, because engines differ in these
//! forms and not in the meaning.

use super::FrameError;
use crate::events::msgpack::{Malformed, Reader, Shape};
use crate::events::{BlockHash, ExtraKey};
use xxhash_rust::xxh3::xxh3_64;

/// Blocks of one event.
const EVENT_BLOCKS_MAX: usize = 1 << 17;
/// Tokens of one event.
const EVENT_TOKENS_MAX: usize = 1 << 21;
/// Extra keys of one block: the adapter, the salt, and an image for every few tokens.
pub(super) const BLOCK_KEYS_MAX: usize = 256;
/// Bytes of a name that an engine gives a block.
const HASH_BYTES_MAX: usize = 64;
/// Bytes of an adapter's name, of a salt, and of any other text.
pub(super) const TEXT_BYTES_MAX: usize = 4096;

/// The extra keys of one event.
#[derive(Debug, Default)]
pub(super) struct ExtraKeys {
    /// One entry for each block; empty where no block has any.
    pub(super) keys: Vec<Option<Vec<ExtraKey>>>,
    /// For how many blocks they are; none where the event has none.
    pub(super) blocks: Option<usize>,
}

/// The tokens of one event.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    pub(super) tokens: Vec<u32>,
    /// The place of the first text among them, where there is one: TensorRT-LLM writes a digest for each token of an image.
    pub(super) first_other: Option<usize>,
}

impl ExtraKeys {
    /// Takes in the keys of another field.
    pub(super) fn add(&mut self, other: Self) {
        self.blocks = self.blocks.max(other.blocks);
        for (at, keys) in other.keys.into_iter().enumerate() {
            for key in keys.into_iter().flatten() {
                self.push(at, self.blocks.unwrap_or_default(), key);
            }
        }
    }

    /// Adds a key of one of so many blocks.
    pub(super) fn push(&mut self, at: usize, blocks: usize, key: ExtraKey) {
        self.keys.resize(blocks.max(self.keys.len()), None);
        if let Some(keys) = self.keys.get_mut(at) {
            keys.get_or_insert_default().push(key);
        }
    }
}

pub(super) fn hash(reader: &mut Reader<'_>) -> Result<BlockHash, Malformed> {
    if reader.peek()? == Shape::Integer {
        return reader.bits().map(BlockHash);
    }
    let bytes = reader.bytes()?;
    (bytes.len() <= HASH_BYTES_MAX).then(|| BlockHash(xxh3_64(bytes))).ok_or(Malformed)
}

pub(super) fn hashes(reader: &mut Reader<'_>) -> Result<Vec<BlockHash>, FrameError> {
    let length = reader.array()?;
    if length > EVENT_BLOCKS_MAX {
        return Err(FrameError::TooLarge);
    }
    Ok((0..length).map(|_| hash(reader)).collect::<Result<_, _>>()?)
}

pub(super) fn tokens(reader: &mut Reader<'_>) -> Result<Tokens, FrameError> {
    let length = reader.array()?;
    if length > EVENT_TOKENS_MAX {
        return Err(FrameError::TooLarge);
    }
    let mut first_other = None;
    let token = |at| {
        if reader.peek()? == Shape::Text {
            first_other.get_or_insert(at);
            return reader.skip().map(|()| 0);
        }
        token(reader)
    };
    let tokens = (0..length).map(token).collect::<Result<_, _>>()?;
    Ok(Tokens { tokens, first_other })
}

/// A token's id. SGLang writes pairs, each of a token and the next one, where it speculates with EAGLE.
fn token(reader: &mut Reader<'_>) -> Result<u32, Malformed> {
    if reader.peek()? != Shape::Array {
        return reader.unsigned();
    }
    if reader.array()? != 2 {
        return Err(Malformed);
    }
    let first = reader.unsigned()?;
    reader.skip()?;
    Ok(first)
}

/// The keys of all blocks, and for how many blocks there are some. No keys where no block has any, which is the usual case.
pub(super) fn extra_keys(reader: &mut Reader<'_>) -> Result<ExtraKeys, FrameError> {
    let length = reader.array()?;
    if length > EVENT_BLOCKS_MAX {
        return Err(FrameError::TooLarge);
    }
    let mut keys = Vec::new();
    for at in 0..length {
        if let Some(of_block) = reader.some(block_keys)? {
            keys.resize(length, None);
            if let Some(of_this) = keys.get_mut(at) {
                *of_this = Some(of_block);
            }
        }
    }
    Ok(ExtraKeys { keys, blocks: Some(length) })
}

fn block_keys(reader: &mut Reader<'_>) -> Result<Vec<ExtraKey>, Malformed> {
    let length = reader.array()?;
    if length > BLOCK_KEYS_MAX {
        return Err(Malformed);
    }
    let key = |reader: &mut Reader<'_>| {
        if reader.peek()? == Shape::Text {
            return text(reader).map(|text| ExtraKey::Text(text.to_owned()));
        }
        reader.skip().map(|()| ExtraKey::Other)
    };
    (0..length).map(|_| key(reader)).collect()
}

pub(super) fn text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Malformed> {
    reader.text().and_then(|text| if text.len() <= TEXT_BYTES_MAX { Ok(text) } else { Err(Malformed) })
}
