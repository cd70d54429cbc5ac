//! The gate over generated histories: footprints are counted once and never leak, and gates that saw events late, twice or not at all
//! agree again.

use proptest::prelude::*;
use std::collections::BTreeMap;
use warmpath_core::admission::{Admission, HeldKey, Room, Sent};
use warmpath_core::ids::{CellHash, ConversationId, EndpointId, OriginId, RequestKey};
use warmpath_core::time::Timestamp;
use warmpath_core::wire::{Conversation, Held, HeldFor, Hold, Turn};

/// Tokens that each endpoint holds.
const ROOM: u64 = 100_000;
const CELL_TOKENS: u64 = 64;
/// How long after its last turn a conversation is dropped, and a bit.
const LONG_MS: u64 = 31 * 60 * 1_000;

/// Something that happens to a pool.
#[derive(Clone, Debug)]
enum Step {
    /// A turn of a conversation, which grows by some cells.
    Send {
        conversation: u64,
        endpoint: u64,
        origin: u64,
        cells: u64,
    },
    /// The oldest turn under way ends.
    End,
    OriginGone(u64),
    EndpointCold(u64),
    Held {
        origin: u64,
    },
    Pass {
        ms: u64,
    },
}

/// What was sent, played on any gate.
#[derive(Clone, Debug)]
enum Event {
    Sent { key: RequestKey, endpoint: EndpointId, chain: Vec<CellHash>, turn: Turn },
    Ended(RequestKey),
    Gone(OriginId),
    Cold(EndpointId),
    Held(Held),
    Expire,
}

/// The naive model: what every conversation takes, and where.
#[derive(Clone, Debug, Default)]
struct Model {
    cells: BTreeMap<u64, u64>,
    turns: Vec<(RequestKey, u64)>,
    /// The latest turn of each conversation. Its prompt contains the response to the one before, so that has ended.
    latest: BTreeMap<u64, RequestKey>,
    requests: u64,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..6_u64, 1..4_u64, 1..4_u64, 1..200_u64).prop_map(|(conversation, endpoint, origin, cells)| {
            Step::Send { conversation, endpoint, origin, cells }
        }),
        5 => Just(Step::End),
        1 => (1..4_u64).prop_map(Step::OriginGone),
        1 => (1..4_u64).prop_map(Step::EndpointCold),
        1 => (1..4_u64).prop_map(|origin| Step::Held { origin }),
        3 => (1..40_000_u64).prop_map(|ms| Step::Pass { ms }),
    ]
}

fn rooms() -> Vec<Room> {
    (1..4).map(|endpoint| Room { endpoint: EndpointId(endpoint), tokens: ROOM }).collect()
}

/// A chain whose hashes name all that comes before; all conversations begin with the same ten cells.
fn chain(conversation: u64, cells: u64) -> Vec<CellHash> {
    let step = |hash: &mut u64, at: u64| {
        let text = if at < 10 { 0 } else { conversation };
        *hash = hash.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(text + 1);
        Some(CellHash(*hash))
    };
    (0..cells.max(1)).scan(7, step).collect()
}

impl Model {
    /// What a step sends, and the time that passes.
    fn events(&mut self, step: &Step) -> (Vec<Event>, u64) {
        let event = match *step {
            Step::Send { conversation, endpoint, origin, cells } => {
                let grown = self.cells.entry(conversation).or_default();
                *grown += cells;
                let cells = *grown;
                self.requests += 1;
                let key = RequestKey { origin: OriginId(origin), request: self.requests };
                self.turns.push((key, conversation));
                self.latest.insert(conversation, key);
                let turn = Turn {
                    conversation,
                    tokens: cells * CELL_TOKENS,
                    shared_tokens: 10 * CELL_TOKENS,
                    ..Turn::default()
                };
                let chain = chain(conversation, cells);
                Event::Sent { key, endpoint: EndpointId(endpoint), chain, turn }
            }
            Step::End if self.turns.is_empty() => return (Vec::new(), 0),
            Step::End => Event::Ended(self.turns.remove(0).0),
            Step::OriginGone(origin) => {
                self.turns.retain(|(key, _)| key.origin != OriginId(origin));
                Event::Gone(OriginId(origin))
            }
            Step::EndpointCold(endpoint) => Event::Cold(EndpointId(endpoint)),
            Step::Held { origin } => {
                self.requests += 1;
                let held_for = HeldFor::Room.into();
                Event::Held(Held {
                    origin,
                    number: self.requests,
                    held_for,
                    tokens: 1_000,
                    ..Held::default()
                })
            }
            Step::Pass { ms } => return (vec![Event::Expire], ms),
        };
        (vec![event], 0)
    }
}

fn gate() -> Admission {
    Admission::new(Hold { room_ms_max: 120_000, ..Hold::default() }, 1)
}

fn play(gate: &mut Admission, event: &Event, now: Timestamp) {
    match event {
        Event::Sent { key, endpoint, chain, turn } => {
            let sent = Sent { key: *key, endpoint: *endpoint, chain, turn, found_cells: 0 };
            gate.sent(sent, &rooms(), now);
        }
        Event::Ended(key) => gate.ended(*key, now),
        Event::Gone(origin) => gate.drop_origin(*origin),
        Event::Cold(endpoint) => gate.forget(*endpoint),
        Event::Held(held) => gate.held(held, now),
        Event::Expire => gate.expire(engines(), now),
    }
}

fn engines() -> warmpath_core::admission::Engines {
    warmpath_core::admission::Engines {
        room_tokens: ROOM,
        refill_ms: 10_000,
        backlog_ms: 10_000,
        is_near_full: true,
    }
}

/// What the conversations of a snapshot take at an endpoint, counted by hand.
fn tokens_by_hand(all: &[Conversation], endpoint: u64) -> u64 {
    let there = || all.iter().filter(|one| one.endpoint == endpoint);
    let mut shared: BTreeMap<u64, u64> = BTreeMap::new();
    for one in there() {
        let longest = shared.entry(one.head).or_default();
        *longest = (*longest).max(one.shared_tokens);
    }
    there().map(|one| one.tokens).sum::<u64>() + shared.values().sum::<u64>()
}

/// Where each conversation has its place, and what it takes there.
fn places(gate: &Admission, now: Timestamp) -> BTreeMap<u64, (u64, u64)> {
    gate.export(now).map(|one| (one.conversation, (one.endpoint, one.tokens))).collect()
}

proptest! {
    /// Every footprint counts once, where its conversation has its place, whatever happened.
    #[test]
    fn footprints_count_once_and_none_leaks(steps in prop::collection::vec(step(), 0..120)) {
        let (mut gate, mut model, mut now) = (gate(), Model::default(), Timestamp::from_ms(1_000_000));
        for step in &steps {
            let (events, ms) = model.events(step);
            now = now.plus_ms(ms);
            for event in &events {
                play(&mut gate, event, now);
                let all: Vec<Conversation> = gate.export(now).collect();
                for endpoint in 1..4 {
                    prop_assert_eq!(gate.tokens_at(EndpointId(endpoint)), tokens_by_hand(&all, endpoint));
                }
                if let Event::Sent { endpoint, turn, .. } = event {
                    prop_assert_eq!(gate.place(ConversationId(turn.conversation)), Some(*endpoint));
                }
            }
            // No place is taken from whoever has a turn under way, unless its endpoint has become cold.
            for one in gate.export(now).filter(|one| one.endpoint == 0) {
                let latest = model.latest.get(&one.conversation);
                let under_way = model.turns.iter().any(|(key, _)| Some(key) == latest);
                let is_cold = steps.iter().any(|step| matches!(step, Step::EndpointCold(_)));
                prop_assert!(!under_way || is_cold, "{one:?}");
            }
        }
        for (key, _) in std::mem::take(&mut model.turns) {
            play(&mut gate, &Event::Ended(key), now);
        }
        now = now.plus_ms(LONG_MS);
        play(&mut gate, &Event::Expire, now);
        prop_assert_eq!(gate.conversations(), 0);
        for endpoint in 1..4 {
            prop_assert_eq!(gate.tokens_at(EndpointId(endpoint)), 0);
        }
        prop_assert!(gate.queue().is_empty(), "nobody repeats them");
    }

    /// A gate that got the events late, twice or not at all agrees with the one that got all, once the conversations go on.
    #[test]
    fn gates_that_missed_events_agree_again(
        steps in prop::collection::vec(step(), 0..80),
        fates in prop::collection::vec(0..4_u8, 80),
    ) {
        let (mut whole, mut patchy) = (gate(), gate());
        let (mut model, mut now) = (Model::default(), Timestamp::from_ms(1_000_000));
        let mut late: Option<Event> = None;
        for (step, fate) in steps.iter().zip(&fates) {
            let (events, ms) = model.events(step);
            now = now.plus_ms(ms);
            for event in events {
                play(&mut whole, &event, now);
                if let Some(before) = late.take() {
                    play(&mut patchy, &event, now);
                    play(&mut patchy, &before, now);
                    continue;
                }
                match fate {
                    0 => {}
                    1 => late = Some(event),
                    2 => [(); 2].iter().for_each(|()| play(&mut patchy, &event, now)),
                    _ => play(&mut patchy, &event, now),
                }
            }
        }
        // Turns whose ends were lost end with their origins; then every conversation goes on.
        for origin in 1..4 {
            for gate in [&mut whole, &mut patchy] {
                gate.drop_origin(OriginId(origin));
            }
        }
        for conversation in 1..6 {
            let send = Step::Send { conversation, endpoint: 1 + conversation % 3, origin: 9, cells: 1 };
            for event in model.events(&send).0 {
                play(&mut whole, &event, now);
                play(&mut patchy, &event, now);
            }
        }
        prop_assert_eq!(places(&whole, now), places(&patchy, now));
        for endpoint in (1..4).map(EndpointId) {
            prop_assert_eq!(whole.tokens_at(endpoint), patchy.tokens_at(endpoint));
        }
    }

    /// A snapshot has all that matters: whoever starts from it knows the same places and finds the same conversations.
    #[test]
    fn a_snapshot_rebuilds_the_gate(steps in prop::collection::vec(step(), 0..80)) {
        let (mut gate, mut model, mut now) = (self::gate(), Model::default(), Timestamp::from_ms(1_000_000));
        for step in &steps {
            let (events, ms) = model.events(step);
            now = now.plus_ms(ms);
            for event in &events {
                play(&mut gate, event, now);
            }
        }
        let mut other = self::gate();
        for conversation in gate.export(now) {
            other.restore(&conversation, now);
        }
        prop_assert_eq!(places(&gate, now), places(&other, now));
        for (conversation, cells) in &model.cells {
            let next = chain(*conversation, cells + 5);
            prop_assert_eq!(gate.conversation(&next), other.conversation(&next));
        }
        for endpoint in (1..4).map(EndpointId) {
            prop_assert_eq!(gate.tokens_at(endpoint), other.tokens_at(endpoint));
        }
    }
}

fn sent(gate: &mut Admission, conversation: u64, cells: u64, now: Timestamp) {
    let turn = Turn { conversation, tokens: cells * CELL_TOKENS, ..Turn::default() };
    let key = RequestKey { origin: OriginId(1), request: conversation };
    let chain = chain(conversation, cells);
    let event = Event::Sent { key, endpoint: EndpointId(1), chain, turn };
    play(gate, &event, now);
    play(gate, &Event::Ended(key), now);
}

#[test]
fn a_conversation_is_found_by_whoever_continues_it() {
    let (mut gate, now) = (gate(), Timestamp::from_ms(1_000_000));
    sent(&mut gate, 1, 300, now);
    sent(&mut gate, 2, 20, now);
    let found = |chain: &[CellHash]| gate.conversation(chain);
    assert_eq!(found(&chain(1, 300)), Some(ConversationId(1)));
    assert_eq!(found(&chain(1, 900)), Some(ConversationId(1)));
    assert_eq!(found(&chain(2, 21)), Some(ConversationId(2)));
    assert_eq!(found(&chain(1, 299)), None, "an earlier prompt of it");
    assert_eq!(found(&chain(3, 300)), None, "another with the same beginning");
    assert_eq!(found(&[]), None);
}

#[test]
fn a_prompt_whose_end_is_rewritten_continues_its_conversation() {
    let (mut gate, now) = (gate(), Timestamp::from_ms(1_000_000));
    let mut prompt = chain(1, 299);
    prompt.push(CellHash(1));
    let turn = Turn { conversation: 1, tokens: 300 * CELL_TOKENS, ..Turn::default() };
    let key = RequestKey { origin: OriginId(1), request: 1 };
    play(&mut gate, &Event::Sent { key, endpoint: EndpointId(1), chain: prompt, turn }, now);
    assert_eq!(gate.conversation(&chain(1, 310)), None, "two at once are two");
    play(&mut gate, &Event::Ended(key), now);
    assert_eq!(gate.conversation(&chain(1, 310)), Some(ConversationId(1)));
}

/// Whether a conversation loses its place to those who need room.
fn is_idle(gate: &mut Admission, conversation: u64, now: Timestamp) -> bool {
    for other in 10..14 {
        sent(gate, other, ROOM / CELL_TOKENS / 3, now);
    }
    gate.place(ConversationId(conversation)).is_none()
}

#[test]
fn a_turn_whose_end_was_lost_ends_with_the_next() {
    let (mut gate, now) = (gate(), Timestamp::from_ms(1_000_000));
    let begin = |gate: &mut Admission, request, cells| {
        let turn = Turn { conversation: 1, tokens: cells * CELL_TOKENS, ..Turn::default() };
        let key = RequestKey { origin: OriginId(1), request };
        play(gate, &Event::Sent { key, endpoint: EndpointId(1), chain: chain(1, cells), turn }, now);
        key
    };
    begin(&mut gate, 1, 100);
    assert!(!is_idle(&mut gate.clone(), 1, now), "a turn is under way");
    let second = begin(&mut gate, 2, 120);
    let late = RequestKey { origin: OriginId(1), request: 1 };
    play(&mut gate, &Event::Ended(late), now);
    assert!(!is_idle(&mut gate.clone(), 1, now), "the second is, whatever comes of the first");
    play(&mut gate, &Event::Ended(second), now);
    assert!(is_idle(&mut gate, 1, now));
}

#[test]
fn a_request_that_is_repeated_no_more_blocks_nobody() {
    let (mut gate, now) = (gate(), Timestamp::from_ms(1_000_000));
    for number in 1..3 {
        gate.held(&Held { origin: 1, number, ..Held::default() }, now);
    }
    for second in 1..=20 {
        let now = now.plus_ms(second * 1_000);
        if second % 5 == 0 {
            gate.held(&Held { origin: 1, number: 2, age_ms: second * 1_000, ..Held::default() }, now);
        }
        gate.expire(engines(), now);
    }
    let left: Vec<HeldKey> = gate.queue().iter().map(|waiting| waiting.key).collect();
    assert_eq!(left, [HeldKey { origin: OriginId(1), number: 2 }]);
}
