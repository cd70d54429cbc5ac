//! What real messages decode to, and that no bytes at all make the decoder panic.

use super::values::BLOCK_KEYS_MAX;
use super::{Decoded, EVENTS_MAX, FrameError, Message, PAYLOAD_BYTES_MAX, Skipped, decode};
use crate::events::{BlockHash, ExtraKey, KvEvent, StoredBlocks};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use warmpath_core::wire::Tier;
use xxhash_rust::xxh3::xxh3_64;

const VLLM: &str = include_str!("../../../tests/fixtures/events/vllm.txt");
const TENSORRT_LLM: &str = include_str!("../../../tests/fixtures/events/tensorrt-llm.txt");

/// The payloads of vLLM's fixture, by name.
fn payloads() -> Vec<(&'static str, Vec<u8>)> {
    let payloads = payloads_of(VLLM);
    assert_eq!(payloads.len(), 17, "the fixture has changed");
    payloads
}

fn payloads_of(fixture: &'static str) -> Vec<(&'static str, Vec<u8>)> {
    let lines = fixture.lines().filter(|line| !line.starts_with('#'));
    let payloads = lines.map(|line| {
        let parts: Vec<&str> = line.split(' ').collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        (parts[0], parts[2].as_bytes().chunks(2).map(byte).collect())
    });
    payloads.collect()
}

fn captured(name: &str) -> Decoded {
    let (_, payload) = payloads().into_iter().find(|(of, _)| *of == name).expect("such a payload");
    let decoded = decode(&payload).expect("a payload of a real engine");
    assert_eq!(decoded.skipped, Skipped::default(), "{name}");
    decoded
}

fn stored(event: &KvEvent) -> &StoredBlocks {
    match event {
        KvEvent::Stored(stored) => stored,
        other => panic!("not stored: {other:?}"),
    }
}

fn event(bytes: &[u8]) -> Result<Decoded, FrameError> {
    decode(&[&[0x93, 0xc0, 0x91], bytes, &[0xc0]].concat())
}

#[test]
fn a_prefill_is_its_blocks_in_order() {
    let decoded = captured("prefill");
    assert_eq!(decoded.rank, Some(0));
    let [event] = &decoded.batch.events[..] else { panic!("{decoded:?}") };
    let stored = stored(event);
    assert_eq!(stored.hashes.len(), 5);
    assert_eq!(stored.hashes[0], BlockHash(10_920_934_072_418_918_274));
    assert_eq!(stored.parent, None);
    assert_eq!((stored.tokens.len(), stored.block_tokens), (160, 32));
    assert_eq!(stored.tokens[..4], [1314, 223, 1154, 223]);
    assert_eq!((stored.tier, stored.group, stored.kind.as_deref()), (Tier::Gpu, 0, Some("full_attention")));
    assert_eq!(stored.extra_keys, [], "no block has any");
    let longer = captured("continuation");
    assert_eq!(self::stored(&longer.batch.events[0]).parent, stored.hashes.last().copied());
}

#[test]
fn salts_and_adapters_are_kept_apart_from_the_text() {
    let salted = captured("salt");
    let keys = &stored(&salted.batch.events[0]).extra_keys;
    assert_eq!(keys[0], Some(vec![ExtraKey::Text("tenant-7".to_owned())]));
    assert_eq!(keys[1..], [None, None, None, None], "of the first block alone");
    let adapted = captured("adapter");
    let of_adapter = stored(&adapted.batch.events[0]);
    assert_eq!(of_adapter.lora.as_deref(), Some("lora-a"));
    assert_eq!(of_adapter.extra_keys, vec![Some(vec![ExtraKey::Text("lora-a".to_owned())]); 5]);
}

#[test]
fn removals_and_clears_name_what_they_take() {
    let hashes = vec![BlockHash(1_606_443_164_788_223_500)];
    let removed = KvEvent::Removed { hashes, tier: Tier::Gpu, group: 0 };
    assert_eq!(captured("removal").batch.events, [removed]);
    assert_eq!(captured("cleared").batch.events, vec![KvEvent::Cleared; 4]);
    let removals = captured("cpu-removal").batch.events;
    let is_of_the_host = |event: &KvEvent| matches!(event, KvEvent::Removed { tier: Tier::Cpu, .. });
    assert!(removals.iter().any(is_of_the_host), "{removals:?}");
}

#[test]
fn blocks_of_a_lower_tier_may_come_without_tokens() {
    let on_gpu = captured("bytes-hashes");
    let hashes = &stored(&on_gpu.batch.events[0]).hashes;
    assert_eq!(hashes.len(), 14);
    let events = captured("cpu-by-hash").batch.events;
    assert_eq!(events.len(), 14, "one for each");
    for event in &events {
        let stored = stored(event);
        assert_eq!((stored.tier, stored.tokens.len(), stored.block_tokens), (Tier::Cpu, 0, 0));
        assert!(hashes.contains(&stored.hashes[0]), "the same names in both tiers");
    }
    let with_tokens = captured("cpu-with-tokens").batch.events;
    assert!(with_tokens.iter().all(|event| stored(event).tokens.len() == 32), "{with_tokens:?}");
}

#[test]
fn a_hash_of_32_bytes_becomes_one_number() {
    let (_, payload) = payloads().into_iter().find(|(of, _)| *of == "bytes-hashes").unwrap();
    let at = payload.windows(2).position(|two| two == [0xc4, 32]).unwrap();
    let hash = BlockHash(xxh3_64(&payload[at + 2..at + 34]));
    assert_eq!(stored(&captured("bytes-hashes").batch.events[0]).hashes[0], hash);
}

#[test]
fn every_release_says_the_same_in_its_own_encoding() {
    let first = captured("legacy-0.10.2").batch;
    assert_eq!(first.events.len(), 3);
    assert_eq!(stored(&first.events[0]).tokens, [1, 2, 3, 4]);
    for name in ["legacy-0.17.0", "legacy-0.23.0", "legacy-0.24.0", "legacy-0.32.0"] {
        assert_eq!(captured(name).batch, first, "{name}");
    }
}

#[test]
fn sglang_writes_signed_hashes_and_pairs_of_tokens() {
    // ["BlockStored", [-1], nil, [[5, 6], [6, 7]], 2, nil, nil, {"cache_salt": "t"}]
    let bytes = [
        &[0x98, 0xab][..],
        b"BlockStored",
        &[0x91, 0xff, 0xc0, 0x92, 0x92, 5, 6, 0x92, 6, 7, 2, 0xc0, 0xc0, 0x81, 0xaa],
        b"cache_salt",
        &[0xa1, b't'],
    ]
    .concat();
    let decoded = event(&bytes).unwrap();
    let stored = stored(&decoded.batch.events[0]);
    assert_eq!((stored.hashes[0], &stored.tokens[..]), (BlockHash(u64::MAX), &[5, 6][..]));
    assert_eq!(stored.extra_keys, [Some(vec![ExtraKey::Text("t".to_owned())])]);
}

#[test]
fn tensorrt_llm_writes_vllms_maps_and_lists_images_apart() {
    let payload =
        |name| decode(&payloads_of(TENSORRT_LLM).into_iter().find(|(of, _)| *of == name).unwrap().1);
    let plain = payload("plain").unwrap();
    let image = [None, Some(vec![ExtraKey::Other])];
    let [event, removed] = &plain.batch.events[..] else { panic!("{plain:?}") };
    assert_eq!((plain.rank, plain.skipped), (Some(0), Skipped::default()));
    let of = stored(event);
    let hashes = [BlockHash(0x1111_1111_1111_1111), BlockHash(0xeeee_eeee_eeee_eeef)];
    assert_eq!((&of.hashes[..], of.parent, of.tier, of.group), (&hashes[..], None, Tier::Gpu, 0));
    assert_eq!((&of.tokens[..], of.block_tokens, of.extra_keys.len()), (&[1, 2, 3, 4][..], 2, 0));
    assert_eq!(*removed, KvEvent::Removed { hashes: vec![hashes[1]], tier: Tier::Gpu, group: 0 });
    let keyed = payload("image-keys").unwrap();
    assert_eq!(keyed.skipped, Skipped::default());
    assert_eq!(stored(&keyed.batch.events[0]).extra_keys, image, "a key for the block with the image");
    let digests = payload("image-digests").unwrap();
    assert_eq!(stored(&digests.batch.events[0]).extra_keys, image, "digests in place of tokens");
    assert_eq!(payload("adapter").unwrap().skipped.adapters, 1, "it states the number alone");
}

#[test]
fn what_later_releases_add_is_skipped_and_counted() {
    let unknown = [&[0x82, 0xa4][..], b"type", &[0xa3], b"New", &[0xa1, b'x', 0x92, 1, 0x81, 2, 3]].concat();
    assert_eq!(event(&unknown).unwrap().skipped, Skipped { events: 1, ..Skipped::default() });
    let removed = |medium: &[u8], extra: &[u8]| {
        let fields = u8::try_from(3 + usize::from(!extra.is_empty())).unwrap();
        let head = [&[0x80 + fields, 0xa4][..], b"type", &[0xac], b"BlockRemoved"].concat();
        let hashes = [&[0xac][..], b"block_hashes", &[0x91, 7]].concat();
        let medium = [&[0xa6][..], b"medium", medium].concat();
        event(&[&head[..], &hashes, &medium, extra].concat()).unwrap()
    };
    let known = removed(&[0xa3, b'G', b'P', b'U'], &[0xa1, b'n', 0x93, 1, 2, 3]);
    assert_eq!((known.batch.events.len(), known.skipped.fields), (1, 1));
    let tape = removed(&[0xa4, b'T', b'A', b'P', b'E'], &[]);
    assert_eq!((tape.batch.events.len(), tape.skipped.media), (0, 1));
}

#[test]
fn blocks_that_cannot_be_assigned_are_left_out() {
    let bytes = [&[0x96, 0xab][..], b"BlockStored", &[0x92, 1, 2, 0xc0, 0x93, 1, 2, 3, 2, 0xc0]].concat();
    assert_eq!(event(&bytes).unwrap().skipped.shapes, 1, "three tokens are not two blocks of two");
    let bytes = [&[0x96, 0xab][..], b"BlockStored", &[0x91, 1, 0xc0, 0x91, 1, 1, 4]].concat();
    assert_eq!(event(&bytes).unwrap().skipped.adapters, 1, "an adapter that is only a number");
}

#[test]
fn a_payload_of_another_form_is_refused_as_a_whole() {
    for (bytes, why) in [
        (&b""[..], "empty"),
        (b"HTTP/1.1 400 Bad Request\r\n", "another protocol"),
        (&[0x91, 0xc0], "no events"),
        (&[0x92, 0xc0, 0x91, 0x90], "an event without a name"),
        (&[0x92, 0xc0, 0x91, 0x80], "a map without a name"),
        (&[0x92, 0xc0, 0x91, 1], "a number for an event"),
    ] {
        assert_eq!(decode(bytes), Err(FrameError::Malformed), "{why}");
    }
    let nameless = [&[0x91, 0xac][..], b"BlockRemoved"].concat();
    assert_eq!(event(&nameless), Err(FrameError::Incomplete));
}

#[test]
fn nothing_is_read_beyond_its_bound() {
    let events = [&[0x92, 0xc0, 0xdd, 0, 3, 0, 0][..], &vec![0xc0; EVENTS_MAX * 2]].concat();
    assert_eq!(decode(&events), Err(FrameError::TooLarge));
    let keys = [&[0xdc, 1, 1][..], &vec![0xc0; BLOCK_KEYS_MAX + 1]].concat();
    let bytes = [&[0x99, 0xab][..], b"BlockStored", &[0x91, 1, 0xc0, 0x90, 0, 0xc0, 0xc0, 0xc0, 0x91], &keys];
    assert_eq!(event(&bytes.concat()), Err(FrameError::Malformed));
    let parts = [Bytes::new(), Bytes::from_static(&[0; 8]), Bytes::from(vec![0; PAYLOAD_BYTES_MAX + 1])];
    assert_eq!(Message::published(&parts), Err(FrameError::TooLarge));
}

#[test]
fn a_replay_ends_with_the_highest_number() {
    let number = |number: u64| Bytes::copy_from_slice(&number.to_be_bytes());
    let (topic, payload) = (Bytes::from_static(b"kv"), Bytes::from_static(b"p"));
    let message = Message::replayed(&[topic.clone(), number(7), payload.clone()]).unwrap().unwrap();
    assert_eq!((message.sequence, &message.topic), (7, &topic));
    let without_topic = Message::replayed(&[number(7), payload.clone()]).unwrap().unwrap();
    assert_eq!((without_topic.sequence, without_topic.payload), (7, payload.clone()));
    assert_eq!(Message::replayed(&[Bytes::new(), number(u64::MAX), Bytes::new()]), Ok(None));
    assert_eq!(Message::replayed(&[number(u64::MAX), Bytes::new()]), Ok(None));
    assert_eq!(Message::replayed(std::slice::from_ref(&payload)), Err(FrameError::Parts));
    assert_eq!(Message::published(&[topic.clone(), topic, payload]), Err(FrameError::Parts));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..256)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn no_change_of_a_real_payload_makes_it_panic(
        at in 0..17usize,
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut payload = payloads().swap_remove(at).1;
        for (index, byte) in changes {
            let at = index.index(payload.len());
            payload[at] = byte;
        }
        if is_cut {
            payload.truncate(cut.index(payload.len()));
        }
        let _ = decode(&payload);
    }
}
