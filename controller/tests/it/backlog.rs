//! Compares the backlog with a naive model: a view that receives every event must equal one that receives the backlog.

use proptest::prelude::*;
use std::sync::Arc;
use warmpath::index::{Author, Delta};
use warmpath::publish::{Added, Backlog};
use warmpath_core::ids::EndpointId;
use warmpath_core::time::Timestamp;
use warmpath_core::view::View;
use warmpath_core::wire::{
    Alive, Current, EngineStatus, Event, Gone, Health, Held, Hold, InFlightReport, Kind, Outcome,
    OutcomeClass, Pool, PoolEndpoint, Pools, Proxies, Released, Reported, Routed, UsageSeen,
};

/// Endpoints, few enough to meet again.
const ENDPOINTS: u64 = 3;
/// Origins, likewise.
const ORIGINS: u64 = 2;

/// Later than any request has been held for.
const NOW: Timestamp = Timestamp::from_ms(1_000);

fn address(endpoint: u64) -> String {
    format!("10.0.0.{endpoint}:8000")
}

fn id(endpoint: u64) -> u64 {
    EndpointId::of(&address(endpoint)).0
}

fn pools(members: &[bool], holds: bool) -> Kind {
    let endpoints = (0..).zip(members).filter(|(_, is_in)| **is_in);
    let endpoints = endpoints
        .map(|(endpoint, _)| PoolEndpoint { address: address(endpoint), ..PoolEndpoint::default() })
        .collect();
    let hold = holds.then(|| Hold { room_ms_max: 60_000, ..Hold::default() });
    let pool = Pool { name: "p".to_owned(), endpoints, hold, ..Pool::default() };
    Kind::Pools(Pools { pools: vec![pool] })
}

fn kind() -> impl Strategy<Value = Kind> {
    let endpoint = || (0..ENDPOINTS).prop_map(id);
    let tokens = || prop_oneof![Just(None), Just(Some(300_u64)), Just(Some(9000))];
    prop_oneof![
        8 => (0..ORIGINS, endpoint(), 0..4_u32)
            .prop_map(|(origin, endpoint, requests)| Kind::InFlight(InFlightReport { origin, endpoint, requests, ..InFlightReport::default() })),
        4 => (endpoint(), 0..3_i32, 0..3_u32, tokens(), tokens()).prop_map(|(endpoint, health, running, capacity_tokens, below)| {
            let kv_below_gpu_tokens = below.unwrap_or(0);
            let status = EngineStatus { endpoint, health, running, capacity_tokens, kv_below_gpu_tokens, ..EngineStatus::default() };
            Kind::EngineStatus(status)
        }),
        4 => (endpoint(), 0..3_u64, 1..12_u64).prop_map(|(endpoint, prompt, cells)| {
            // Chains that share their beginnings, as hashes of chained cells do.
            let cells = (0..cells).map(|cell| if cell < 4 { cell } else { 1000 * prompt + cell }).collect();
            Kind::Routed(Routed { endpoint, cells, ..Routed::default() })
        }),
        1 => (0..ORIGINS).prop_map(|origin| Kind::Alive(Alive { origin })),
        1 => (0..ORIGINS).prop_map(|origin| Kind::Gone(Gone { origin })),
        1 => endpoint().prop_map(|endpoint| Kind::Outcome(Outcome { endpoint, class: OutcomeClass::Full.into(), ..Outcome::default() })),
        1 => Just(Kind::UsageSeen(UsageSeen { pool: "p".to_owned(), prompt_bytes: 3000, prompt_tokens: 1000, ..UsageSeen::default() })),
        1 => proptest::collection::vec(0..3_u64, 0..3).prop_map(|processes| Kind::Proxies(Proxies { processes })),
        1 => (proptest::collection::vec(any::<bool>(), 3), proptest::bool::weighted(0.8)).prop_map(|(members, holds)| pools(&members, holds)),
        4 => (0..ORIGINS, 0..3_u64, 0..9_u64).prop_map(|(origin, number, age_ms)| {
            Kind::Held(Held { origin, number, pool: "p".to_owned(), age_ms, ..Held::default() })
        }),
        4 => (0..ORIGINS, 0..3_u64).prop_map(|(origin, number)| Kind::Released(Released { origin, number, is_sent: false })),
    ]
}

/// All that two views must have in common, in an order of its own.
fn picture(view: &View) -> Vec<String> {
    let mut lines: Vec<String> = view.export(NOW).iter().map(|event| format!("{event:?}")).collect();
    lines.extend(view.endpoints().map(|(_, endpoint)| {
        format!("{} {:?} {:?}", endpoint.address, endpoint.fitness(NOW), endpoint.in_flight())
    }));
    lines.extend(view.pools().iter().map(|pool| format!("{:.6}", pool.bytes_per_token())));
    lines.sort();
    lines
}

/// Small cells, so that the capacities above evict.
fn start() -> View {
    let mut view = View::new(256, 0);
    view.apply(&Event::from(pools(&[true; 3], true)), NOW);
    view
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn coalescing_changes_nothing(kinds in proptest::collection::vec(kind(), 0..60)) {
        let (mut naive, mut receiver) = (start(), start());
        let mut backlog = Backlog::new(0);
        for kind in kinds {
            naive.apply(&Event::from(kind.clone()), NOW);
            prop_assert_ne!(backlog.add(Arc::new(Delta::new(Author::Controller, kind))), Added::Overflowed);
        }
        for delta in backlog.take() {
            let event: Event = prost::Message::decode(delta.bytes.clone()).unwrap();
            receiver.apply(&event, NOW);
        }
        prop_assert_eq!(picture(&naive), picture(&receiver));
    }
}

fn in_flight(requests: u32) -> Arc<Delta> {
    Arc::new(Delta::new(
        Author::Controller,
        Kind::InFlight(InFlightReport { origin: 1, endpoint: id(0), requests, ..InFlightReport::default() }),
    ))
}

fn status(status: EngineStatus) -> Arc<Delta> {
    Arc::new(Delta::new(Author::Controller, Kind::EngineStatus(EngineStatus { endpoint: id(0), ..status })))
}

#[test]
fn the_newest_report_is_the_only_one() {
    let mut backlog = Backlog::new(0);
    assert_eq!(backlog.add(in_flight(1)), Added::Queued);
    for requests in 2..100_000 {
        assert_eq!(backlog.add(in_flight(requests)), Added::Coalesced);
    }
    assert_eq!(backlog.take(), [in_flight(99_999)]);
    assert!(backlog.is_empty());
}

#[test]
fn an_engine_that_went_and_came_back_is_sent_as_both() {
    let mut backlog = Backlog::new(0);
    let all = [Health::Healthy, Health::Unhealthy, Health::Healthy]
        .map(|health| status(EngineStatus { health: health.into(), ..EngineStatus::default() }));
    for delta in &all {
        assert_eq!(backlog.add(Arc::clone(delta)), Added::Queued);
    }
    assert_eq!(backlog.take(), all);
}

/// A proxy that had been silent believed its reports again before the removals came that waited behind.
#[test]
fn that_all_is_known_is_said_behind_all_that_waits() {
    let current = || Arc::new(Delta::new(Author::Controller, Kind::Current(Current {})));
    let removed = Reported { endpoint: id(0), removed: vec![1], ..Reported::default() };
    let removed = Arc::new(Delta::new(Author::Controller, Kind::Reported(removed)));
    let mut backlog = Backlog::new(0);
    let added = [current(), Arc::clone(&removed), current()].map(|delta| backlog.add(delta));
    assert_eq!(added, [Added::Queued, Added::Queued, Added::Coalesced]);
    assert_eq!(backlog.take(), [removed, current()]);
}

/// The receiver drops cells when the tier shrinks, as the controller's own view does.
#[test]
fn a_tier_that_shrank_and_grew_before_a_slow_reader_is_sent_as_both() {
    let mut backlog = Backlog::new(0);
    let tier = |gpu_tokens, kv_below_gpu_tokens, running| {
        let capacity_tokens = Some(gpu_tokens);
        status(EngineStatus { capacity_tokens, kv_below_gpu_tokens, running, ..EngineStatus::default() })
    };
    let all = [9_000, 300, 9_000].map(|below| tier(300, below, 1));
    for delta in &all {
        assert_eq!(backlog.add(Arc::clone(delta)), Added::Queued);
    }
    assert_eq!(backlog.add(tier(300, 9_000, 2)), Added::Coalesced, "no cell is dropped");
    assert_eq!(backlog.add(tier(9_000, 300, 2)), Added::Coalesced, "as many cells, elsewhere");
    assert_eq!(backlog.take().len(), all.len());
}

#[test]
fn a_full_backlog_is_dropped() {
    let small = |cell| {
        Arc::new(Delta::new(
            Author::Controller,
            Kind::Routed(Routed { endpoint: id(0), cells: vec![cell], ..Routed::default() }),
        ))
    };
    let mut backlog = Backlog::new(0);
    let queued = (0..1_000_000).take_while(|cell| backlog.add(small(*cell)) == Added::Queued).count();
    assert_eq!(queued, 16_384);
    assert!(backlog.is_empty());

    let large = Arc::new(Delta::new(
        Author::Controller,
        Kind::Routed(Routed { endpoint: id(0), cells: vec![7; 4096], ..Routed::default() }),
    ));
    let queued = std::iter::repeat_with(|| backlog.add(Arc::clone(&large)))
        .take_while(|a| *a == Added::Queued)
        .count();
    assert_eq!(queued, 8 * 1024 * 1024 / large.bytes.len());
}
