//! The bytes: what is written is read, garbage is an error, and nothing exceeds the limits.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use prost::Message;
use warmpath_core::limits::{EVENTS_PER_MESSAGE_MAX, MESSAGE_BYTES_SOFT_MAX};
use warmpath_core::time::Timestamp;
use warmpath_core::wire::{
    Alive, ChatJoint, ChatLiteral, ChatPiece, ChatProgram, ChatShape, ChatTable, Conversation, Current,
    Ended, EngineStatus, Event, Gone, Held, HeldFor, Hold, InFlightReport, Kind, MessageChunker, Objective,
    Outcome, OutcomeClass, Page, PageError, Pool, PoolEndpoint, Pools, Prefix, PromptFormat, Proxies, Record,
    Released, Reported, Reporting, Rewrite, RewriteTarget, Role, Routed, Source, Stored, StreamError, Tenant,
    Tier, Transfer, TransferProtocol, TransferSeen, Trust, Turn, Up, UsageSeen, WakeTime, decode_down,
    decode_up,
};

fn pool() -> Pool {
    Pool {
        name: "p".into(),
        models: vec!["m".into()],
        adapters: vec!["a".into()],
        endpoints: vec![PoolEndpoint {
            address: "10.0.0.1:80".into(),
            identity: 1,
            role: Role::Decode.into(),
            engine: "e".into(),
        }],
        listed: vec!["{}".into()],
        rewrites: vec![Rewrite {
            model: "m".into(),
            targets: vec![RewriteTarget { model: "n".into(), weight: 1 }],
        }],
        objectives: vec![Objective { name: "o".into(), priority: -1 }],
        weight: 3,
        transfer: Some(Transfer {
            protocol: TransferProtocol::Bootstrap.into(),
            bootstrap_port: 8998,
            cluster: "c".into(),
        }),
        hold: Some(Hold {
            room_ms_max: 1,
            endpoint_ms_max: 1,
            tenants: vec![Tenant { name: "t".into(), weight: 1 }],
        }),
        prompt_format: Some(Box::new(PromptFormat {
            text_prefix: "<s>".into(),
            chat: Some(ChatProgram {
                shape: Some(ChatShape {
                    has_parts: true,
                    has_developer: true,
                    reads_names: true,
                    is_result_id_first: true,
                    tools_place: 1,
                    tools_as: 1,
                    system_place: 1,
                    call_order: 1,
                    has_calls: true,
                    has_reasoning: true,
                }),
                switches: vec!["enable_thinking".into()],
                arguments: vec!["date_string".into()],
                guards: vec!["</think>".into()],
                literals: vec![ChatLiteral {
                    pieces: vec![ChatPiece { text: "t".into(), now: "%d".into() }],
                }],
                tables: vec![ChatTable {
                    has_tools: true,
                    switches: vec![1],
                    fields: vec![1],
                    forms: vec![1],
                    joints: vec![ChatJoint { from: 1, to: 1, literal: 1 }],
                    empty: vec![1],
                    kept: vec![1],
                }],
                merges_system: true,
            }),
        })),
    }
}

fn turn() -> Turn {
    Turn {
        conversation: 1,
        tokens: 1,
        shared_tokens: 1,
        tenant: 1,
        waited_ms: 1,
        is_new: true,
        is_learned: true,
    }
}

/// One of each kind, every field set.
fn every_kind() -> Vec<Kind> {
    let pool = pool();
    let status = EngineStatus {
        endpoint: 1,
        health: 1,
        running: 1,
        waiting: 1,
        kv_used_permille: 1,
        capacity_tokens: Some(1),
        block_tokens: Some(1),
        kv_below_gpu_tokens: 1,
        incarnation: 1,
        adapter_slots: 8,
    };
    let outcome = Outcome {
        endpoint: 1,
        class: OutcomeClass::Served.into(),
        origin: 1,
        request: 1,
        age_ms: 1,
        work_ahead: Some(1),
        ttft_us: 1,
    };
    let load = InFlightReport {
        origin: 1,
        endpoint: 1,
        requests: 1,
        prefills: 1,
        prefill_work: 1,
        context_tokens: 1,
    };
    let mut kinds = vec![
        Kind::Pool(pool.clone()),
        Kind::Pools(Pools { pools: vec![pool] }),
        Kind::EngineStatus(status),
        Kind::Routed(Routed {
            endpoint: 1,
            cells: vec![1, 2],
            origin: 1,
            request: 1,
            turn: Some(turn()),
            adapter: 7,
            decodes: true,
        }),
        Kind::InFlight(load),
        Kind::Outcome(outcome),
        Kind::Alive(Alive { origin: 1 }),
        Kind::Gone(Gone { origin: 1 }),
        Kind::Prefix(Prefix { depth: 1, cells: vec![1], endpoints: vec![1], held: vec![1] }),
        Kind::UsageSeen(UsageSeen {
            pool: "p".into(),
            prompt_bytes: 1,
            prompt_tokens: 1,
            cached_tokens: Some(1),
            output_tokens: Some(1),
            endpoint: 1,
            media: vec![1],
            expected_cached_tokens: 1,
            expected_prompt_tokens: 1,
            work_ahead: Some(1),
            ttft_us: 1,
        }),
        Kind::Proxies(Proxies { processes: vec![1] }),
        Kind::Current(Current {}),
        Kind::Stored(Stored { response: 1, endpoint: 1 }),
        Kind::TransferSeen(TransferSeen { prefill: 1, decode: 2, tokens: 1, us: 1 }),
    ];
    kinds.extend(kinds_of_gates_and_caches());
    kinds
}

/// The same of those that concern held requests and their conversations.
fn kinds_of_gates_and_caches() -> [Kind; 7] {
    let held = Held {
        origin: 1,
        number: 1,
        pool: "p".into(),
        held_for: HeldFor::Room.into(),
        age_ms: 1,
        conversation: 1,
        tokens: 1,
        tenant: 1,
        priority: 1,
        body_bytes: 1,
    };
    let conversation = Conversation {
        conversation: 1,
        cell: 1,
        endpoint: 1,
        tokens: 1,
        tenant: 1,
        idle_ms: 1,
        placed_ms: 1,
        pool: "p".into(),
        head: 1,
        anchor: 1,
        cells: 1,
        shared_tokens: 1,
        turns: 1,
        mark: 1,
    };
    [
        Kind::Ended(Ended { origin: 1, request: 1 }),
        Kind::Held(held),
        Kind::Released(Released { origin: 1, number: 1, is_sent: true }),
        Kind::Conversation(conversation),
        Kind::Reported(Reported {
            endpoint: 1,
            tier: Tier::Disk.into(),
            stored: vec![2, 3],
            removed: vec![4],
        }),
        Kind::Reporting(Reporting { endpoint: 1, trust: Trust::Partial.into(), is_cleared: true }),
        Kind::WakeTime(WakeTime { pool: "p".into(), usual_ms: 90_000, passed_ms: Some(0), is_growing: true }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    (0..every_kind().len(), any::<u64>(), prop::collection::vec(any::<u64>(), 0..5)).prop_map(
        |(at, number, cells)| {
            let mut kinds = every_kind();
            match &mut kinds[at] {
                Kind::Routed(routed) => *routed = Routed { endpoint: number, cells, ..Routed::default() },
                Kind::InFlight(load) => load.context_tokens = number,
                Kind::Gone(gone) => gone.origin = number,
                _ => {}
            }
            kinds[at].clone().into()
        },
    )
}

fn records(page: &Page, from: usize) -> Result<Vec<Record>, PageError> {
    let mut records = Vec::new();
    page.read(from, |record| records.push(record)).map(|()| records)
}

proptest! {
    #[test]
    fn a_page_gives_back_what_was_pushed(number in any::<u64>(), events in prop::collection::vec((event(), any::<bool>()), 0..20), at in 0_usize..20) {
        let mut page = Page::new(number);
        let mut expected = Vec::new();
        let mut ends = vec![Page::start()];
        for (event, is_local) in events {
            let source = if is_local { Source::Local } else { Source::Controller };
            let at = Timestamp::from_us(7 * u64::try_from(page.end()).unwrap());
            page.push(source, at, &event);
            expected.push(Record { source, at, event });
            ends.push(page.end());
        }
        let stored = Page::from_bytes(page.as_bytes().to_vec()).unwrap();
        prop_assert_eq!(stored.number(), number);
        prop_assert_eq!(records(&stored, 0), Ok(expected.clone()));
        let at = at.min(expected.len());
        prop_assert_eq!(records(&stored, ends[at]), Ok(expected[at..].to_vec()));
        for end in Page::start()..stored.end() {
            let cut = Page::from_bytes(stored.as_bytes()[..end].to_vec()).unwrap();
            prop_assert_eq!(records(&cut, 0).is_ok(), ends.contains(&end));
        }
    }

    #[test]
    fn garbage_is_no_page_and_no_message(bytes in prop::collection::vec(any::<u8>(), 0..80), from in 0_usize..100, event in event(), at in any::<prop::sample::Index>(), change in any::<u8>()) {
        let _ = (decode_up(&bytes).is_ok(), decode_down(&bytes).is_ok());
        match Page::from_bytes(bytes.clone()) {
            Ok(page) => { let _ = records(&page, from).is_ok(); }
            Err(error) => prop_assert!(error == PageError::NoHeader && bytes.len() < Page::start()),
        }
        let mut page = Page::new(1);
        page.push(Source::Local, Timestamp::ZERO, &event);
        let mut bytes = page.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = change;
        let _ = records(&Page::from_bytes(bytes).unwrap(), from).is_ok();
    }

    #[test]
    fn messages_are_cut_within_the_limits_and_in_order(sizes in prop::collection::vec(0_usize..4_000, 0..300)) {
        let events: Vec<Event> = sizes.iter().map(|size| Kind::Routed(Routed { endpoint: 1, cells: vec![7; *size], ..Routed::default() }).into()).collect();
        let mut messages = MessageChunker::default();
        for event in events.clone() {
            messages.push(event);
        }
        let messages = messages.finish();
        for message in &messages {
            let bytes: usize = message.iter().map(Message::encoded_len).sum();
            prop_assert!(!message.is_empty() && (bytes <= MESSAGE_BYTES_SOFT_MAX || message.len() == 1));
        }
        prop_assert_eq!(messages.concat(), events);
    }
}

#[test]
fn a_message_of_too_many_events_is_refused() {
    let events = |count: usize| vec![Event::from(Kind::Gone(Gone { origin: 1 })); count];
    let up = |count: usize| decode_up(&Up { hello: None, events: events(count) }.encode_to_vec());
    assert_eq!(up(EVENTS_PER_MESSAGE_MAX).unwrap().events.len(), EVENTS_PER_MESSAGE_MAX);
    let error = up(EVENTS_PER_MESSAGE_MAX + 1).unwrap_err();
    assert!(matches!(error, StreamError::TooManyEvents(count) if count == EVENTS_PER_MESSAGE_MAX + 1));
    let mut messages = MessageChunker::default();
    for event in events(EVENTS_PER_MESSAGE_MAX + 1) {
        messages.push(event);
    }
    assert_eq!(messages.finish().iter().map(Vec::len).collect::<Vec<_>>(), [EVENTS_PER_MESSAGE_MAX, 1]);
}

#[test]
fn a_kind_of_a_newer_sender_is_skipped() {
    // Field 99, length-delimited, empty.
    let mut bytes = Vec::new();
    prost::encoding::encode_key(99, prost::encoding::WireType::LengthDelimited, &mut bytes);
    bytes.push(0);
    assert_eq!(Event::decode(bytes.as_slice()).unwrap(), Event { kind: None });
}
