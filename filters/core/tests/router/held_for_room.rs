//! More conversations than the engines' caches hold: some wait for room, in the order of the gate, and each gets its turn in time.

use crate::support::{
    Controller, EVENT_STREAM, Host, Stream, TOKEN, Vm, chosen, destinations, pools_of, step, text, vm,
    with_controller,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use warmpath_core::ids::EndpointId;
use warmpath_core::router::DESTINATION_HEADER;
use warmpath_core::wire::{EngineStatus, Health, Hold, Kind};

/// The longest wait for room.
const ROOM_MS_MAX: u32 = 20_000;
/// What a request may wait beyond that: a look for such requests, and a step of this test.
const LATE_MS_MAX: u64 = 1_000;
/// Tokens that each of the two engines holds.
const CAPACITY_TOKENS: u64 = 24_000;
/// Conversations, each of which takes a fourth of an engine at first.
const CONVERSATIONS: usize = 24;
const STEP_MS: u64 = 250;
const STEPS: u64 = 2_400;

/// An agent that sends one turn after the other.
struct Agent {
    number: usize,
    messages: Vec<Value>,
    stream: Option<Stream>,
    /// When its turn was sent by it.
    since_ms: u64,
    /// When the response is whole, or the next turn comes.
    until_ms: Option<u64>,
    turns: u32,
    refusals: u32,
}

// === impl Agent ===

impl Agent {
    fn new(number: usize) -> Self {
        let first = json!({"role": "user", "content": text(&format!("agent {number}"), 20_000)});
        let (messages, until_ms) = (vec![first], Some(0));
        Self { number, messages, stream: None, since_ms: 0, until_ms, turns: 0, refusals: 0 }
    }

    fn send(&mut self, vm: &Vm, now_ms: u64) {
        let mut stream = vm.request();
        let headers = [(":method", "POST"), (":path", "/v1/chat/completions")];
        stream.headers(&headers, false);
        let body = json!({"model": "llama", "messages": self.messages, "stream": true});
        stream.body(body.to_string().as_bytes(), true);
        if let Some(reply) = stream.reply.take() {
            // It would have to wait for too long.
            let named = |name| reply.headers.iter().find(|(other, _)| *other == name).map(|(_, value)| value);
            assert_eq!(
                (reply.status, named("x-warmpath-reason").map(String::as_str)),
                (429, Some("no_room"))
            );
            let retry_s: u64 = named("retry-after").expect("it may come again").parse().unwrap();
            stream.finish();
            self.refusals += 1;
            self.until_ms = Some(now_ms + retry_s * 1_000);
            return;
        }
        self.stream = Some(stream);
        (self.since_ms, self.until_ms) = (now_ms, None);
    }

    fn complete(&mut self, now_ms: u64) {
        let Some(mut stream) = self.stream.take() else { return };
        stream.response_headers(&EVENT_STREAM, false);
        stream.response_body(TOKEN, true);
        stream.finish();
        self.turns += 1;
        for role in ["assistant", "user"] {
            let content = text(&format!("turn {} of {}", self.turns, self.number), 300);
            self.messages.push(json!({"role": role, "content": content}));
        }
        self.until_ms = Some(now_ms + 2_000);
    }
}

fn engines<'a>(host: &Host, vms: &[&'a Vm]) -> Controller<'a> {
    let mut controller = Controller::accept(host, vms);
    let mut pools = pools_of(0..2);
    pools.pools[0].hold = Some(Hold { room_ms_max: ROOM_MS_MAX, ..Hold::default() });
    let status = |address: &str| EngineStatus {
        endpoint: EndpointId::of(address).0,
        health: Health::Healthy.into(),
        capacity_tokens: Some(CAPACITY_TOKENS),
        ..EngineStatus::default()
    };
    let endpoints = &pools.pools[0].endpoints;
    let statuses = endpoints.iter().map(|one| Kind::EngineStatus(status(&one.address)).into());
    let statuses: Vec<_> = statuses.collect();
    controller.snapshot([vec![Kind::Pools(pools).into()], statuses].concat());
    step(host, vms);
    controller
}

#[test]
fn each_waits_for_room_no_longer_than_the_pool_allows_and_then_stays_where_it_is() {
    let host = Host::default();
    let (one, other) = (&vm(&host, &with_controller()), &vm(&host, &with_controller()));
    let _controller = engines(&host, &[one, other]);
    let mut agents: Vec<Agent> = (0..CONVERSATIONS).map(Agent::new).collect();
    let (mut longest_ms, mut homes) = (0, BTreeMap::<usize, Vec<String>>::new());
    let mut lines = Vec::new();
    for now_ms in (0..STEPS).map(|step| step * STEP_MS) {
        host.advance(Duration::from_millis(STEP_MS));
        [one, other].into_iter().for_each(Vm::tick);
        for agent in &mut agents {
            if let Some(stream) = &mut agent.stream {
                stream.catch_up();
                assert!(stream.reply.is_none(), "agent {} was accepted", agent.number);
                if agent.until_ms.is_none() && stream.request_headers.contains_key(DESTINATION_HEADER) {
                    longest_ms = longest_ms.max(now_ms - agent.since_ms);
                    homes.entry(agent.number).or_default().push(chosen(stream));
                    assert_eq!(destinations(stream).len(), 2, "retries may go elsewhere");
                    lines.extend(stream.properties.get("warmpath.decision").cloned());
                    agent.until_ms = Some(now_ms + 4_000);
                }
            }
            if agent.until_ms.is_some_and(|until_ms| until_ms <= now_ms) {
                if agent.stream.is_some() {
                    agent.complete(now_ms);
                } else {
                    let vm = if agent.number % 2 == 0 { one } else { other };
                    agent.send(vm, now_ms);
                }
            }
        }
    }
    let held = host.metric("warmpath.held.room");
    let waiting = u64::try_from(one.held()).unwrap();
    assert!(held > 100, "{held} were held");
    assert_eq!(host.metric("warmpath.hold_resumed.room") + waiting, held, "nobody is lost");
    assert!(longest_ms <= u64::from(ROOM_MS_MAX) + LATE_MS_MAX, "{longest_ms} ms");
    let turns: Vec<u32> = agents.iter().map(|agent| agent.turns).collect();
    assert!(turns.iter().all(|turns| *turns > 5), "{turns:?}");
    let moves = homes.values().flat_map(|homes| homes.windows(2)).filter(|pair| pair[0] != pair[1]).count();
    let all: u32 = turns.iter().sum();
    assert!(moves * 3 < all as usize, "{moves} of {all} turns went to another engine");
    assert!(lines.iter().any(|line| line.contains(" held_for=room held_ms=")), "{lines:?}");
    let waits = host.recorded("warmpath.held_ms.room");
    assert!(waits.len() > 100 && waits.iter().all(|ms| *ms <= longest_ms), "{waits:?}");
}
