//! One message of an engine -> its number, and its events in order.
//!
//! ```text
//!   [topic][number: u64, big-endian][payload: MessagePack [time, [event ...], rank]]
//! ```
//!
//! vLLM writes an event as a map since 0.24 and as an array before, in which each release appended fields; SGLang copied
//! both, and TensorRT-LLM the map, with a field of its own for images. The name of an event comes first in either. What is not known is skipped and counted:
//! events, fields and media of later releases must not stop what is understood. A payload of another form is refused as a
//! whole: a removal that it may contain must not go unnoticed.

mod values;

use super::msgpack::{Malformed, Reader, Shape};
use super::{Batch, BlockHash, ExtraKey, KvEvent, StoredBlocks};
use bytes::Bytes;
use thiserror::Error;
use values::{ExtraKeys, TEXT_BYTES_MAX, Tokens, extra_keys, hash, hashes, text, tokens};
use warmpath_core::num::index;
use warmpath_core::wire::Tier;

/// Bytes of a message's payload: a prompt of a million tokens has 5 MB.
pub const PAYLOAD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Events of one message: one step of an engine evicts at most what it stores, and 100,000 blocks of 16 tokens are more than
/// any prompt has.
const EVENTS_MAX: usize = 1 << 17;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is published under. Replayed messages of older engines have none.
    pub topic: Bytes,
    /// Its number: one more than that of the message before it.
    pub sequence: u64,
    /// The events, encoded.
    pub payload: Bytes,
}

/// The number of a replay's last message, which has no payload.
const END_SEQUENCE: u64 = u64::MAX;

/// What a payload says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Its events.
    pub batch: Batch,
    /// When it was made, by the engine's clock, in milliseconds since 1970.
    pub made_ms: Option<i64>,
    /// The data-parallel rank that published it.
    pub rank: Option<u32>,
    /// What was skipped.
    pub skipped: Skipped,
}

/// How much of a payload was skipped, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Events of unknown kinds.
    pub events: u64,
    /// Unknown fields of known events.
    pub fields: u64,
    /// Known events about unknown media.
    pub media: u64,
    /// Blocks of an adapter without its name, as TensorRT-LLM publishes them, and vLLM before 0.17.
    pub adapters: u64,
    /// Stored blocks whose numbers of names, tokens and keys do not fit each other.
    pub shapes: u64,
}

/// Why a message cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// Another number of parts than three, or a second part of another length than eight bytes.
    #[error("not a topic, a sequence number and a payload")]
    Parts,
    /// The payload is no batch of events in MessagePack.
    #[error("not a batch of events in MessagePack")]
    Malformed,
    /// A known event lacks a field.
    #[error("an event lacks a field that it must have")]
    Incomplete,
    /// The message is beyond a bound.
    #[error("larger than any message of an engine")]
    TooLarge,
}

/// A field of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Hashes,
    Parent,
    Tokens,
    BlockTokens,
    LoraId,
    LoraName,
    Medium,
    ExtraKeys,
    Group,
    Kind,
    Locality,
    Salt,
    /// Known, and of no use here.
    Unused,
}

/// The fields of a stored event in array form, after its name.
const STORED_ORDER: [Field; 11] = [
    Field::Hashes,
    Field::Parent,
    Field::Tokens,
    Field::BlockTokens,
    Field::LoraId,
    Field::Medium,
    Field::LoraName,
    Field::ExtraKeys,
    Field::Group,
    Field::Kind,
    Field::Unused,
];
/// The same for a removal.
const REMOVED_ORDER: [Field; 3] = [Field::Hashes, Field::Medium, Field::Group];

/// The kinds of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Stored,
    Removed,
    Cleared,
}

/// The fields of one event, as far as they were read.
#[derive(Debug, Default)]
struct Fields<'a> {
    hashes: Option<Vec<BlockHash>>,
    parent: Option<BlockHash>,
    tokens: Option<Tokens>,
    block_tokens: u32,
    is_adapted: bool,
    lora: Option<&'a str>,
    medium: Option<&'a str>,
    extra_keys: ExtraKeys,
    group: u32,
    kind: Option<&'a str>,
    is_remote: bool,
    salt: Option<&'a str>,
}

// === impl Message ===

impl Message {
    /// A published message of these parts.
    pub fn published(parts: &[Bytes]) -> Result<Self, FrameError> {
        let [topic, sequence, payload] = parts else { return Err(FrameError::Parts) };
        Self::new(topic.clone(), sequence, payload)
    }

    /// A replayed message of these parts, after the empty one: vLLM repeats the topic since 0.26. `None`: the last one.
    pub fn replayed(parts: &[Bytes]) -> Result<Option<Self>, FrameError> {
        let (topic, sequence, payload) = match parts {
            [sequence, payload] => (Bytes::new(), sequence, payload),
            [topic, sequence, payload] => (topic.clone(), sequence, payload),
            _ => return Err(FrameError::Parts),
        };
        let message = Self::new(topic, sequence, payload)?;
        Ok((message.sequence != END_SEQUENCE).then_some(message))
    }

    fn new(topic: Bytes, sequence: &[u8], payload: &Bytes) -> Result<Self, FrameError> {
        let sequence = <[u8; 8]>::try_from(sequence).map_err(|_| FrameError::Parts)?;
        let is_too_large = payload.len() > PAYLOAD_BYTES_MAX || topic.len() > TEXT_BYTES_MAX;
        if is_too_large {
            return Err(FrameError::TooLarge);
        }
        Ok(Self { topic, sequence: u64::from_be_bytes(sequence), payload: payload.clone() })
    }
}

// === impl FrameError ===

impl FrameError {
    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Parts => "parts",
            Self::Malformed => "malformed",
            Self::Incomplete => "incomplete",
            Self::TooLarge => "too_large",
        }
    }
}

impl From<Malformed> for FrameError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

// === impl Skipped ===

impl Skipped {
    /// Events that stored blocks, of which nothing is known therefore.
    pub fn blocks(&self) -> u64 {
        self.adapters + self.shapes
    }

    /// The counts with their names in metrics.
    pub fn labelled(self) -> [(&'static str, u64); 5] {
        [
            ("unknown_event", self.events),
            ("unknown_field", self.fields),
            ("unknown_medium", self.media),
            ("unnamed_adapter", self.adapters),
            ("shape", self.shapes),
        ]
    }
}

/// What a payload says.
pub fn decode(payload: &[u8]) -> Result<Decoded, FrameError> {
    let mut decoded = Decoded::default();
    let mut reader = Reader::new(payload);
    let parts = reader.array()?;
    if parts < 2 {
        return Err(FrameError::Malformed);
    }
    decoded.made_ms = reader.milliseconds()?;
    let events = reader.array()?;
    if events > EVENTS_MAX {
        return Err(FrameError::TooLarge);
    }
    for _ in 0..events {
        let event = decode_event(&mut reader, &mut decoded.skipped)?;
        decoded.batch.events.extend(event);
    }
    if parts > 2 {
        decoded.rank = reader.some(Reader::unsigned)?;
    }
    Ok(decoded)
}

fn decode_event(reader: &mut Reader<'_>, skipped: &mut Skipped) -> Result<Option<KvEvent>, FrameError> {
    let start = *reader;
    let (name, is_map, length) = match reader.peek()? {
        Shape::Map => {
            let length = reader.map()?;
            let key = if length == 0 { "" } else { reader.text()? };
            (if key == "type" { Some(reader.text()?) } else { None }, true, length)
        }
        Shape::Array => {
            let length = reader.array()?;
            (if length == 0 { None } else { Some(reader.text()?) }, false, length)
        }
        _ => return Err(FrameError::Malformed),
    };
    let Some(name) = name.map(Name::of) else { return Err(FrameError::Malformed) };
    let Some(name) = name else {
        skipped.events += 1;
        *reader = start;
        reader.skip()?;
        return Ok(None);
    };
    let mut fields = Fields::default();
    let order = name.order();
    for at in 0..length.saturating_sub(1) {
        let field = if is_map { Field::of(reader.text()?) } else { order.get(at).copied() };
        let Some(field) = field else {
            skipped.fields += 1;
            reader.skip()?;
            continue;
        };
        fields.read(field, reader)?;
    }
    fields.event(name, skipped)
}

// === impl Name ===

impl Name {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "BlockStored" => Self::Stored,
            "BlockRemoved" => Self::Removed,
            "AllBlocksCleared" => Self::Cleared,
            _ => return None,
        })
    }

    fn order(self) -> &'static [Field] {
        match self {
            Self::Stored => &STORED_ORDER,
            Self::Removed => &REMOVED_ORDER,
            Self::Cleared => &[],
        }
    }
}

// === impl Field ===

impl Field {
    fn of(key: &str) -> Option<Self> {
        Some(match key {
            "block_hashes" => Self::Hashes,
            "parent_block_hash" => Self::Parent,
            "token_ids" => Self::Tokens,
            "block_size" => Self::BlockTokens,
            "lora_id" => Self::LoraId,
            "lora_name" => Self::LoraName,
            "medium" => Self::Medium,
            // TensorRT-LLM lists images apart.
            "extra_keys" | "mm_keys" => Self::ExtraKeys,
            "group_idx" => Self::Group,
            "kv_cache_spec_kind" => Self::Kind,
            "locality" => Self::Locality,
            "cache_salt" => Self::Salt,
            "kv_cache_spec_sliding_window" | "ownership" | "session_id" => Self::Unused,
            _ => return None,
        })
    }
}

// === impl Fields ===

impl<'a> Fields<'a> {
    fn read(&mut self, field: Field, reader: &mut Reader<'a>) -> Result<(), FrameError> {
        match field {
            Field::Hashes => self.hashes = Some(hashes(reader)?),
            Field::Parent => self.parent = reader.some(hash)?,
            Field::Tokens => self.tokens = Some(tokens(reader)?),
            Field::BlockTokens => self.block_tokens = reader.unsigned()?,
            Field::LoraId => {
                self.is_adapted = reader.peek()? != Shape::Nil;
                reader.skip()?;
            }
            // SGLang has a map in its place, with the salt in it.
            Field::LoraName if reader.peek()? == Shape::Map => {
                for _ in 0..reader.map()? {
                    match Field::of(reader.text()?) {
                        Some(Field::Salt) => self.salt = reader.some(text)?,
                        _ => reader.skip()?,
                    }
                }
            }
            Field::LoraName => self.lora = reader.some(text)?,
            Field::Medium => self.medium = reader.some(text)?,
            Field::ExtraKeys if reader.peek()? == Shape::Nil => reader.skip()?,
            Field::ExtraKeys => self.extra_keys.add(extra_keys(reader)?),
            Field::Group => self.group = reader.some(Reader::unsigned)?.unwrap_or(0),
            Field::Kind => self.kind = reader.some(text)?,
            Field::Locality => self.is_remote = reader.some(text)? == Some("REMOTE"),
            Field::Salt => self.salt = reader.some(text)?,
            Field::Unused => reader.skip()?,
        }
        Ok(())
    }

    fn event(self, name: Name, skipped: &mut Skipped) -> Result<Option<KvEvent>, FrameError> {
        if name == Name::Cleared {
            return Ok(Some(KvEvent::Cleared));
        }
        let hashes = self.hashes.ok_or(FrameError::Incomplete)?;
        let Some(tier) = tier(self.medium, self.is_remote) else {
            skipped.media += 1;
            return Ok(None);
        };
        if name == Name::Removed {
            return Ok(Some(KvEvent::Removed { hashes, tier, group: self.group }));
        }
        let Tokens { tokens, first_other } = self.tokens.ok_or(FrameError::Incomplete)?;
        if self.is_adapted && self.lora.is_none() {
            skipped.adapters += 1;
            return Ok(None);
        }
        let block_tokens = if tokens.is_empty() { 0 } else { self.block_tokens };
        let expected = usize::try_from(block_tokens).ok().and_then(|size| size.checked_mul(hashes.len()));
        let is_aligned = self.extra_keys.blocks.is_none_or(|blocks| blocks == hashes.len());
        let mut extra_keys = self.extra_keys;
        if expected != Some(tokens.len()) || !is_aligned {
            skipped.shapes += 1;
            return Ok(None);
        }
        if let Some(salt) = self.salt.filter(|_| self.parent.is_none()) {
            extra_keys.push(0, hashes.len(), ExtraKey::Text(salt.to_owned()));
        }
        if let Some(block) = first_other.and_then(|token| token.checked_div(index(block_tokens))) {
            extra_keys.push(block, hashes.len(), ExtraKey::Other);
        }
        Ok(Some(KvEvent::Stored(StoredBlocks {
            hashes,
            parent: self.parent,
            tokens,
            block_tokens,
            lora: self.lora.map(ToOwned::to_owned),
            extra_keys: extra_keys.keys,
            tier,
            group: self.group,
            kind: self.kind.map(ToOwned::to_owned),
        })))
    }
}

/// The tier of a medium; none if it is not known.
fn tier(medium: Option<&str>, is_remote: bool) -> Option<Tier> {
    let local = match medium {
        None | Some("GPU") => Tier::Gpu,
        Some("CPU" | "CPU_PINNED") => Tier::Cpu,
        Some("DISK" | "STORAGE") => Tier::Disk,
        Some("REMOTE" | "EXTERNAL") => Tier::Remote,
        Some(_) => return None,
    };
    Some(if is_remote { Tier::Remote } else { local })
}

#[cfg(test)]
mod tests;
