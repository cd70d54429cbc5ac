//! The gate in a closed loop: conversations that go on only when they are let, on engines that are never slow.
//!
//! What it gains is for the simulator to say. Here is what must hold for any load: nobody starves, and no tenant pays for another.

use proptest::prelude::*;
use warmpath_core::admission::{Admission, Asked, Engines, Room, Sent, Verdict};
use warmpath_core::ids::{CellHash, ConversationId, EndpointId, OriginId, RequestKey, TenantId};
use warmpath_core::time::Timestamp;
use warmpath_core::wire::{Held, HeldFor, Hold, Tenant, Turn};

/// The longest wait, in milliseconds.
const WAIT_MS_MAX: u64 = 120_000;
const ROOM: u64 = 100_000;
const ENDPOINTS: u64 = 3;
const CELL_TOKENS: u64 = 64;
const TICK_MS: u64 = 100;
const SECOND_MS: u64 = 1_000;
const PLAYED_MS: u64 = 900_000;
/// How often whoever holds a request says so again, in milliseconds.
const REPEATED_MS: u64 = 5_000;

/// One that asks, waits, is served, and thinks, again and again.
#[derive(Clone, Debug)]
struct Client {
    tenant: &'static str,
    tokens: u64,
    turn_ms: u64,
    think_ms: u64,
    state: State,
    turns: u64,
    waits_ms: Vec<u64>,
    /// Where its last request was sent without a place there, having waited for as long as is allowed.
    sent_without_place: Option<EndpointId>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Thinks { until: u64 },
    Waits { since: u64 },
    Served { until: u64, request: u64 },
}

struct Loop {
    gate: Admission,
    clients: Vec<Client>,
    requests: u64,
}

fn client(tenant: &'static str, tokens: u64, turn_ms: u64, think_ms: u64) -> Client {
    let state = State::Thinks { until: 0 };
    Client {
        tenant,
        tokens,
        turn_ms,
        think_ms,
        state,
        turns: 0,
        waits_ms: Vec::new(),
        sent_without_place: None,
    }
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_ms(1_000_000 + ms)
}

fn rooms() -> Vec<Room> {
    (1..=ENDPOINTS).map(|endpoint| Room { endpoint: EndpointId(endpoint), tokens: ROOM }).collect()
}

impl Loop {
    fn new(clients: Vec<Client>, tenants: Vec<Tenant>) -> Self {
        let hold = Hold { room_ms_max: u32::try_from(WAIT_MS_MAX).unwrap(), tenants, ..Hold::default() };
        Self { gate: Admission::new(hold, 1), clients, requests: 0 }
    }

    fn chain(number: usize, cells: u64) -> Vec<CellHash> {
        let conversation = u64::try_from(number).unwrap() + 1;
        (0..cells).map(|at| CellHash(conversation << 32 | at)).collect()
    }

    fn asked(&self, number: usize) -> Asked {
        let client = &self.clients[number];
        let chain = Self::chain(number, client.tokens / CELL_TOKENS + client.turns);
        Asked {
            conversation: self.gate.conversation(&chain),
            tokens: client.tokens,
            tenant: TenantId::of(client.tenant),
            ..Asked::default()
        }
    }

    fn send(&mut self, number: usize, waited_ms: u64, verdict: &Verdict, now_ms: u64) {
        let endpoint = match verdict {
            Verdict::Placed(endpoint) => *endpoint,
            Verdict::Room(all) => all[0],
            Verdict::Open | Verdict::Full => EndpointId(u64::try_from(number).unwrap() % ENDPOINTS + 1),
        };
        self.requests += 1;
        let client = &mut self.clients[number];
        client.waits_ms.push(waited_ms);
        client.sent_without_place = matches!(verdict, Verdict::Open | Verdict::Full).then_some(endpoint);
        client.state = State::Served { until: now_ms + client.turn_ms, request: self.requests };
        let turn = Turn {
            conversation: u64::try_from(number).unwrap() + 1,
            tokens: client.tokens,
            tenant: TenantId::of(client.tenant).0,
            waited_ms,
            ..Turn::default()
        };
        let chain = Self::chain(number, client.tokens / CELL_TOKENS + client.turns);
        let key = RequestKey { origin: OriginId(1), request: self.requests };
        // Nothing is found: hits are lost, so that the gate opens.
        let sent = Sent { key, endpoint, chain: &chain, turn: &turn, found_cells: 0 };
        self.gate.sent(sent, &rooms(), at(now_ms));
    }

    fn ask(&mut self, number: usize, now_ms: u64) {
        let asked = self.asked(number);
        match self.gate.verdict(&asked, &rooms(), at(now_ms)) {
            Verdict::Full => {
                self.clients[number].state = State::Waits { since: now_ms };
                self.repeat(number, now_ms, now_ms);
            }
            verdict => self.send(number, 0, &verdict, now_ms),
        }
    }

    fn repeat(&mut self, number: usize, since: u64, now_ms: u64) {
        let asked = self.asked(number);
        let held = Held {
            origin: 1,
            number: u64::try_from(number).unwrap(),
            held_for: HeldFor::Room.into(),
            age_ms: now_ms - since,
            conversation: asked.conversation.map_or(0, |ConversationId(id)| id),
            tokens: asked.own_tokens(),
            tenant: asked.tenant.0,
            ..Held::default()
        };
        self.gate.held(&held, at(now_ms));
    }

    fn tick(&mut self, now_ms: u64) {
        if now_ms.is_multiple_of(SECOND_MS) {
            let engines =
                Engines { room_tokens: ROOM, refill_ms: 10_000, backlog_ms: 10_000, is_near_full: true };
            self.gate.expire(engines, at(now_ms));
        }
        for number in 0..self.clients.len() {
            match self.clients[number].state {
                State::Thinks { until } if until <= now_ms => self.ask(number, now_ms),
                State::Waits { since } if now_ms.is_multiple_of(REPEATED_MS) => {
                    self.repeat(number, since, now_ms);
                }
                State::Served { until, request } if until <= now_ms => {
                    let key = RequestKey { origin: OriginId(1), request };
                    self.gate.ended(key, at(now_ms));
                    let client = &mut self.clients[number];
                    client.turns += 1;
                    client.state = State::Thinks { until: now_ms + client.think_ms };
                }
                _ => {}
            }
        }
        while let Some((key, verdict)) = self.gate.next(&rooms(), at(now_ms)) {
            let number = usize::try_from(key.number).unwrap();
            let State::Waits { since } = self.clients[number].state else { panic!("{number} does not wait") };
            self.gate.released(key);
            self.send(number, now_ms - since, &verdict, now_ms);
        }
    }

    fn play(mut self) -> Self {
        for now_ms in (0..PLAYED_MS).step_by(usize::try_from(TICK_MS).unwrap()) {
            self.tick(now_ms);
        }
        self
    }

    /// All waits, those that go on at the end included.
    fn waits_ms<'a>(&'a self, tenant: &'a str) -> impl Iterator<Item = u64> + 'a {
        self.clients.iter().filter(move |client| client.tenant == tenant).flat_map(|client| {
            let open = match client.state {
                State::Waits { since } => Some(PLAYED_MS - since),
                _ => None,
            };
            client.waits_ms.iter().copied().chain(open)
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever the load: every held request goes on within the longest wait, by the gate alone. What an endpoint then has
    /// beyond its room, and beyond one conversation, is of those that went on for having waited so long.
    #[test]
    fn nobody_waits_longer_than_the_longest_wait(
        clients in prop::collection::vec((4_000..40_000_u64, 200..4_000_u64, 500..60_000_u64), 1..60),
    ) {
        let clients = clients.iter().map(|(tokens, turn_ms, think_ms)| client("", *tokens, *turn_ms, *think_ms));
        let played = Loop::new(clients.collect(), Vec::new()).play();
        let longest_ms = played.waits_ms("").max().unwrap_or(0);
        prop_assert!(longest_ms <= WAIT_MS_MAX, "{longest_ms} ms");
        for endpoint in 1..=ENDPOINTS {
            let endpoint = EndpointId(endpoint);
            let without_place = played.clients.iter().filter(|client| client.sent_without_place == Some(endpoint));
            let excess: u64 = without_place.map(|client| client.tokens).sum();
            let tokens = played.gate.tokens_at(endpoint);
            prop_assert!(tokens <= ROOM + 40_000 + excess, "{tokens} tokens, {excess} of them without a place");
        }
    }
}

#[test]
fn a_gate_that_is_crowded_holds_somebody() {
    let clients = (0..40).map(|_| client("", 20_000, 1_000, 8_000)).collect();
    let played = Loop::new(clients, Vec::new()).play();
    assert!(played.gate.is_on());
    assert!(
        played.waits_ms("").any(|wait_ms| wait_ms > WAIT_MS_MAX / 2),
        "who waits takes nobody's place at once"
    );
    assert!(
        played.waits_ms("").filter(|wait_ms| *wait_ms == 0).count() > 1_000,
        "most turns find their place"
    );
}

#[test]
fn a_tenant_that_floods_makes_itself_wait() {
    let few = || (0..4).map(|_| client("few", 20_000, 1_000, 8_000));
    let many = (0..60).map(|_| client("many", 20_000, 1_000, 8_000));
    let played = Loop::new(few().chain(many).collect(), Vec::new()).play();
    let mean_ms = |tenant| {
        let waits: Vec<u64> = played.waits_ms(tenant).collect();
        waits.iter().sum::<u64>() / u64::try_from(waits.len()).unwrap()
    };
    let alone = Loop::new(few().collect(), Vec::new()).play();
    let turns = |of: &Loop| of.waits_ms("few").count();
    assert!(turns(&played) * 10 >= turns(&alone) * 9, "{} of {} turns", turns(&played), turns(&alone));
    assert!(mean_ms("many") > 10 * mean_ms("few"), "{} and {}", mean_ms("many"), mean_ms("few"));
}

#[test]
fn places_follow_the_weights_of_tenants() {
    let clients = ["light", "heavy"].map(|tenant| (0..30).map(move |_| client(tenant, 20_000, 1_000, 8_000)));
    let tenants = vec![Tenant { name: "heavy".into(), weight: 3 }];
    let played = Loop::new(clients.into_iter().flatten().collect(), tenants).play();
    let turns = |tenant| played.waits_ms(tenant).count();
    let ratio = turns("heavy") * 10 / turns("light");
    assert!((20..=40).contains(&ratio), "three times as many, or nearly: {ratio} tenths");
}
