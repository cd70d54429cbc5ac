//! A batch of events as vLLM's msgpack: `[time, events, rank]`.
//!
//! By hand, field for field, because absent fields, their order and the width of numbers are part of what receivers have to bear.

use super::{
    config::{Encoding, Hashes, KvEvents},
    event::{KvEvent, Stored},
};
use crate::model::{BlockHash, Tier};
use rmp::encode::{write_array_len, write_bin, write_f64, write_map_len, write_nil, write_str, write_uint};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The one group of a model with full attention.
const GROUP: u64 = 0;
const GROUP_KIND: &str = "full_attention";
const HASH_BYTES: usize = 32;

/// A message under way. Writing into a vector cannot fail.
struct Payload<'a> {
    bytes: Vec<u8>,
    config: &'a KvEvents,
}

/// The payload of a batch, at a time in seconds since 1970.
pub(super) fn encode(config: &KvEvents, unix_s: f64, events: &[KvEvent]) -> Vec<u8> {
    let mut payload = Payload { bytes: Vec::new(), config };
    payload.list(3);
    let _ = write_f64(&mut payload.bytes, unix_s);
    payload.list(events.len());
    for event in events {
        payload.event(event);
    }
    payload.uint(u64::from(config.data_parallel_rank));
    payload.bytes
}

/// The medium's name, and how near it is where the name does not say it.
fn medium(tier: Option<Tier>) -> (&'static str, Option<&'static str>) {
    match tier {
        None => ("GPU", None),
        Some(Tier::Cpu) => ("CPU", None),
        Some(Tier::Disk) => ("STORAGE", Some("LOCAL")),
        Some(Tier::Remote) => ("STORAGE", Some("REMOTE")),
    }
}

// === impl Payload ===

impl Payload<'_> {
    fn event(&mut self, event: &KvEvent) {
        let is_map = self.config.encoding == Encoding::Map;
        match event {
            KvEvent::Stored(stored) if is_map => self.stored_map(stored),
            KvEvent::Stored(stored) => self.stored_list(stored),
            KvEvent::Sunk { block, tier } => {
                let bare = Stored {
                    blocks: vec![*block],
                    parent: None,
                    tokens: Vec::new(),
                    block_tokens: 0,
                    adapter: None,
                    extra_keys: Vec::new(),
                };
                if is_map { self.sunk_map(&bare, *tier) } else { self.list_of(&bare, Some(*tier)) }
            }
            KvEvent::Removed { block, tier } => self.removed(*block, *tier),
            KvEvent::Cleared if is_map => {
                self.map(1);
                self.field("type", "AllBlocksCleared");
            }
            KvEvent::Cleared => {
                self.list(1);
                self.text("AllBlocksCleared");
            }
        }
    }

    fn stored_map(&mut self, stored: &Stored) {
        self.map(11);
        self.stored_head(stored, None);
        self.text("extra_keys");
        self.extra_keys(stored);
        self.text("group_idx");
        self.uint(GROUP);
        self.field("kv_cache_spec_kind", GROUP_KIND);
    }

    fn sunk_map(&mut self, bare: &Stored, tier: Tier) {
        let locality = medium(Some(tier)).1;
        self.map(9 + usize::from(locality.is_some()));
        self.stored_head(bare, Some(tier));
        self.text("group_idx");
        self.uint(GROUP);
        if let Some(locality) = locality {
            self.field("locality", locality);
        }
    }

    /// The eight fields that are always there.
    fn stored_head(&mut self, stored: &Stored, tier: Option<Tier>) {
        self.field("type", "BlockStored");
        self.text("block_hashes");
        self.hashes(&stored.blocks);
        self.text("parent_block_hash");
        self.parent(stored);
        self.text("token_ids");
        self.tokens(stored);
        self.text("block_size");
        self.uint(stored.block_tokens as u64);
        self.text("lora_id");
        self.adapter_id(stored);
        self.field("medium", medium(tier).0);
        self.text("lora_name");
        self.adapter_name(stored);
    }

    fn stored_list(&mut self, stored: &Stored) {
        self.list_of(stored, None);
    }

    fn list_of(&mut self, stored: &Stored, tier: Option<Tier>) {
        let fields = match self.config.encoding {
            Encoding::Map | Encoding::ListWithGroup => 11,
            Encoding::ListWithKeys => 8,
            Encoding::List => 6,
        };
        self.list(1 + fields);
        self.text("BlockStored");
        self.hashes(&stored.blocks);
        self.parent(stored);
        self.tokens(stored);
        self.uint(stored.block_tokens as u64);
        self.adapter_id(stored);
        self.text(medium(tier).0);
        if fields == 6 {
            return;
        }
        self.adapter_name(stored);
        self.extra_keys(stored);
        if fields == 8 {
            return;
        }
        self.uint(GROUP);
        // The kind and the window, which 0.23 left open.
        self.nil();
        self.nil();
    }

    fn removed(&mut self, block: BlockHash, tier: Option<Tier>) {
        let (medium, locality) = medium(tier);
        if self.config.encoding == Encoding::Map {
            self.map(4 + usize::from(locality.is_some()));
            self.field("type", "BlockRemoved");
            self.text("block_hashes");
            self.hashes(&[block]);
            self.field("medium", medium);
            self.text("group_idx");
            self.uint(GROUP);
            if let Some(locality) = locality {
                self.field("locality", locality);
            }
            return;
        }
        let has_group = self.config.encoding == Encoding::ListWithGroup;
        self.list(3 + usize::from(has_group));
        self.text("BlockRemoved");
        self.hashes(&[block]);
        self.text(medium);
        if has_group {
            self.uint(GROUP);
        }
    }

    fn hashes(&mut self, blocks: &[BlockHash]) {
        self.list(blocks.len());
        for block in blocks {
            self.hash(*block);
        }
    }

    fn hash(&mut self, BlockHash(hash): BlockHash) {
        match self.config.hashes {
            Hashes::Integers => self.uint(hash),
            Hashes::Bytes => {
                let mut whole = [0; HASH_BYTES];
                for (at, part) in whole.chunks_exact_mut(8).enumerate() {
                    let number =
                        if at == 3 { hash } else { xxh3_64_with_seed(&hash.to_be_bytes(), at as u64) };
                    part.copy_from_slice(&number.to_be_bytes());
                }
                let _ = write_bin(&mut self.bytes, &whole);
            }
        }
    }

    fn parent(&mut self, stored: &Stored) {
        match stored.parent {
            Some(parent) => self.hash(parent),
            None => self.nil(),
        }
    }

    fn tokens(&mut self, stored: &Stored) {
        self.list(stored.tokens.len());
        stored.tokens.iter().for_each(|token| self.uint(u64::from(*token)));
    }

    fn adapter_id(&mut self, stored: &Stored) {
        match &stored.adapter {
            Some((id, _)) => self.uint(u64::from(*id)),
            None => self.nil(),
        }
    }

    fn adapter_name(&mut self, stored: &Stored) {
        match &stored.adapter {
            Some((_, name)) => self.text(name),
            None => self.nil(),
        }
    }

    fn extra_keys(&mut self, stored: &Stored) {
        if stored.extra_keys.is_empty() {
            return self.nil();
        }
        self.list(stored.extra_keys.len());
        for keys in &stored.extra_keys {
            if keys.is_empty() {
                self.nil();
                continue;
            }
            self.list(keys.len());
            for key in keys {
                self.text(key);
            }
        }
    }

    fn field(&mut self, name: &str, value: &str) {
        self.text(name);
        self.text(value);
    }

    fn text(&mut self, text: &str) {
        let _ = write_str(&mut self.bytes, text);
    }

    fn uint(&mut self, number: u64) {
        let _ = write_uint(&mut self.bytes, number);
    }

    fn nil(&mut self) {
        let _ = write_nil(&mut self.bytes);
    }

    fn list(&mut self, len: usize) {
        let _ = write_array_len(&mut self.bytes, u32::try_from(len).unwrap_or(u32::MAX));
    }

    fn map(&mut self, len: usize) {
        let _ = write_map_len(&mut self.bytes, u32::try_from(len).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// What vLLM 0.32 sent.
    const CAPTURED: [&str; 4] = [
        include_str!("../../../data/kv-events/stored-behind.hex"),
        include_str!("../../../data/kv-events/stored-lora.hex"),
        include_str!("../../../data/kv-events/stored-salt.hex"),
        include_str!("../../../data/kv-events/removed.hex"),
    ];

    /// What the classes of releases made of one batch: 0.10.2, 0.17.0, 0.23.0.
    const OLDER: [(Encoding, &str); 3] = [
        (
            Encoding::List,
            "93cb41dac0a628a000009397ab426c6f636b53746f72656492cf1111111111111111cf2222222222222222c0940102030402c0a34750\
             5593ac426c6f636b52656d6f76656491cf1111111111111111a347505591b0416c6c426c6f636b73436c656172656400",
        ),
        (
            Encoding::ListWithKeys,
            "93cb41dac0a628a000009399ab426c6f636b53746f72656492cf1111111111111111cf2222222222222222c0940102030402c0a34750\
             55c092c0c093ac426c6f636b52656d6f76656491cf1111111111111111a347505591b0416c6c426c6f636b73436c656172656400",
        ),
        (
            Encoding::ListWithGroup,
            "93cb41dac0a628a00000939cab426c6f636b53746f72656492cf1111111111111111cf2222222222222222c0940102030402c0a34750\
             55c092c0c000c0c094ac426c6f636b52656d6f76656491cf1111111111111111a34750550091b0416c6c426c6f636b73436c65617265\
             6400",
        ),
    ];

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    fn numbers(value: &Value) -> Vec<u64> {
        value.as_array().unwrap().iter().map(|number| number.as_u64().unwrap()).collect()
    }

    fn event_of(event: &Value) -> KvEvent {
        let blocks: Vec<_> = numbers(&event["block_hashes"]).into_iter().map(BlockHash).collect();
        if event["type"] == "BlockRemoved" {
            return KvEvent::Removed { block: blocks[0], tier: None };
        }
        let name = event["lora_name"].as_str().map(str::to_owned);
        let keys = |keys: &Value| {
            let keys = keys.as_array().into_iter().flatten();
            keys.map(|key| key.as_str().unwrap().to_owned()).collect()
        };
        KvEvent::Stored(Stored {
            blocks,
            parent: event["parent_block_hash"].as_u64().map(BlockHash),
            tokens: numbers(&event["token_ids"]).into_iter().map(|token| token as u32).collect(),
            block_tokens: event["block_size"].as_u64().unwrap() as usize,
            adapter: name.map(|name| (event["lora_id"].as_u64().unwrap() as u32, name)),
            extra_keys: event["extra_keys"].as_array().unwrap().iter().map(keys).collect(),
        })
    }

    #[test]
    fn batches_are_byte_for_byte_those_of_vllm() {
        for captured in CAPTURED {
            let bytes = hex(captured);
            let batch = serde_json::to_value(rmpv::decode::read_value(&mut &bytes[..]).unwrap()).unwrap();
            let events: Vec<_> = batch[1].as_array().unwrap().iter().map(event_of).collect();
            assert_eq!(encode(&KvEvents::default(), batch[0].as_f64().unwrap(), &events), bytes, "{batch}");
        }
    }

    #[test]
    fn older_releases_write_lists() {
        let [one, two] = [0x1111_1111_1111_1111, 0x2222_2222_2222_2222].map(BlockHash);
        let stored = Stored {
            blocks: vec![one, two],
            parent: None,
            tokens: vec![1, 2, 3, 4],
            block_tokens: 2,
            adapter: None,
            extra_keys: vec![Vec::new(), Vec::new()],
        };
        let removed = KvEvent::Removed { block: one, tier: None };
        let events = [KvEvent::Stored(stored), removed, KvEvent::Cleared];
        for (encoding, expected) in OLDER {
            let config = KvEvents { encoding, ..KvEvents::default() };
            assert_eq!(encode(&config, 1_795_332_258.5, &events), hex(expected), "{encoding:?}");
        }
    }

    #[test]
    fn a_hash_of_32_bytes_ends_with_the_integer() {
        let config = KvEvents { hashes: Hashes::Bytes, ..KvEvents::default() };
        let removed = KvEvent::Removed { block: BlockHash(0x0102_0304_0506_0708), tier: Some(Tier::Cpu) };
        let bytes = encode(&config, 0.0, &[removed]);
        let at = bytes.windows(2).position(|pair| pair == [0xc4, 32]).unwrap();
        assert_eq!(bytes[at + 26..at + 34], [1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
