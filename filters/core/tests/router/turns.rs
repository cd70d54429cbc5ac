//! Turns of conversations that are followed: each begins with its request and ends with it, whatever comes of it.

use crate::support::{
    Controller, EVENT_STREAM, Host, JSON, TOKEN, Vm, chat, chat_with, chosen, endpoints, pools_of, serve,
    step, text, vm, with_controller,
};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use warmpath_core::ids::EndpointId;
use warmpath_core::wire::{EngineStatus, Hold, Kind, Pools, Prefix, Turn};

/// Cells that an engine holds.
const FULL_CELLS: u64 = 100;
const TOKENS_PER_CELL: u64 = 64;

/// The pool `llama` with two endpoints, whose requests may wait for room.
fn following() -> Pools {
    let mut pools = pools_of(0..2);
    pools.pools[0].hold = Some(Hold { room_ms_max: 60_000, ..Hold::default() });
    pools
}

fn followed<'a>(host: &Host, vm: &'a Vm) -> Controller<'a> {
    let mut controller = Controller::accept(host, &[vm]);
    // One is full, so that room is short.
    let cells = 1..=FULL_CELLS;
    let full = EngineStatus {
        endpoint: EndpointId::of(&endpoints(1)[0]).0,
        capacity_tokens: Some(FULL_CELLS * TOKENS_PER_CELL),
        ..EngineStatus::default()
    };
    let status = |endpoint: &String| EngineStatus { endpoint: EndpointId::of(endpoint).0, ..full };
    let (held, endpoint) = (u32::try_from(FULL_CELLS).unwrap(), full.endpoint);
    let prefix = Prefix { depth: 0, cells: cells.collect(), endpoints: vec![endpoint], held: vec![held] };
    let statuses = endpoints(2).iter().map(|one| Kind::EngineStatus(status(one)).into()).collect::<Vec<_>>();
    controller.snapshot([vec![Kind::Pools(following()).into()], statuses, vec![prefix.into()]].concat());
    host.advance(Duration::from_secs(2));
    vm.tick();
    controller
}

/// The turns that were begun, and how often each has ended.
fn turns(host: &Host, controller: &Controller<'_>) -> (BTreeMap<u64, Vec<Turn>>, BTreeMap<u64, usize>) {
    step(host, &[controller.vm]);
    let (mut begun, mut ended): (BTreeMap<_, Vec<_>>, BTreeMap<_, usize>) = Default::default();
    for kind in controller.events() {
        match kind {
            Kind::Routed(routed) => begun.entry(routed.request).or_default().extend(routed.turn),
            Kind::Ended(end) => *ended.entry(end.request).or_default() += 1,
            _ => {}
        }
    }
    (begun, ended)
}

#[test]
fn each_turn_ends_once_whatever_comes_of_it() {
    let host = Host::default();
    let vm = vm(&host, &with_controller());
    let controller = followed(&host, &vm);
    let whole = chat(&text("whales", 2_000));
    let stream = chat_with(&text("owls", 2_000), &json!({"stream": true}));
    let mut complete = serve(&vm, &whole);
    complete.response_headers(&JSON, false);
    let usage = json!({"prompt_tokens": 500, "completion_tokens": 77});
    complete.response_body(json!({"usage": usage}).to_string().as_bytes(), true);
    complete.finish();
    let mut unknown = serve(&vm, &stream);
    unknown.response_headers(&EVENT_STREAM, false);
    unknown.response_body(TOKEN, true);
    unknown.finish();
    let mut failed = serve(&vm, &whole);
    failed.response_headers(&[(":status", "500")], true);
    failed.finish();
    serve(&vm, &whole).finish();
    let mut leaves = serve(&vm, &stream);
    leaves.response_headers(&EVENT_STREAM, false);
    leaves.response_body(TOKEN, false);
    leaves.finish();
    let (begun, ended) = turns(&host, &controller);
    assert_eq!(ended.values().copied().collect::<Vec<_>>(), [1; 5], "five turns");
    assert_eq!(begun.keys().collect::<Vec<_>>(), ended.keys().collect::<Vec<_>>());
    for turn in begun.values().flatten() {
        assert!(turn.conversation != 0 && turn.tokens > 500 && turn.waited_ms == 0, "{turn:?}");
    }
}

#[test]
fn a_turn_that_is_served_elsewhere_goes_there_with_its_conversation() {
    let host = Host::default();
    let vm = vm(&host, &with_controller());
    let controller = followed(&host, &vm);
    let mut request = serve(&vm, &chat(&text("whales", 2_000)));
    let other = endpoints(2).into_iter().find(|endpoint| *endpoint != chosen(&request)).unwrap();
    request.served_by = Some(other);
    request.response_headers(&JSON, false);
    request.response_body(b"{}", true);
    request.finish();
    let (begun, ended) = turns(&host, &controller);
    let turns: Vec<&Turn> = begun.values().flatten().collect();
    assert_eq!((turns.len(), ended.len()), (2, 1));
    assert!(turns.iter().all(|turn| turn.conversation == turns[0].conversation && turn.is_new));
}
