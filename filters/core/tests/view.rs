//! The view as a receiver of events: whole after a snapshot, the same whatever was lost or repeated before.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use warmpath_core::ids::{CellHash, EndpointId, OriginId, Slot};
use warmpath_core::limits::{ENDPOINTS_MAX, ORIGIN_SILENCE_MS_MAX};
use warmpath_core::time::Timestamp;
use warmpath_core::view::{Applied, Fitness, InFlight, Match, View};
use warmpath_core::wire::{
    Alive, EngineStatus, Event, Gone, Health, InFlightReport, Kind, Outcome, OutcomeClass, Pool,
    PoolEndpoint, Pools, Prefix, PrefixDecoder, Role, Routed, UsageSeen,
};

const ENDPOINTS: usize = 4;

fn address(at: usize) -> String {
    format!("10.0.{}.{}:8000", at / 256, at % 256)
}

fn id(at: usize) -> u64 {
    EndpointId::of(&address(at)).0
}

fn pools(endpoints: impl Iterator<Item = usize>) -> Kind {
    let endpoints =
        endpoints.map(|at| PoolEndpoint { address: address(at), ..PoolEndpoint::default() }).collect();
    Kind::Pools(Pools {
        pools: vec![Pool {
            name: "p".into(),
            models: vec!["m".into()],
            adapters: vec![],
            endpoints,
            ..Pool::default()
        }],
    })
}

fn view() -> View {
    let mut view = View::default();
    view.apply(&pools(0..ENDPOINTS).into(), Timestamp::ZERO);
    view
}

/// A chain of cells that each name all letters up to it.
fn cells(text: &[u8]) -> Vec<u64> {
    (1..=text.len()).map(|end| EndpointId::of(&format!("{:?}", &text[..end])).0).collect()
}

/// What a request that was sent `age_ms` ago came to.
fn came_to(endpoint: usize, class: OutcomeClass, age_ms: u64) -> Event {
    let outcome = Outcome { endpoint: id(endpoint), class: class.into(), age_ms, ..Outcome::default() };
    Kind::Outcome(outcome).into()
}

fn found(view: &View, text: &[u8]) -> Vec<(u64, u32)> {
    let chain: Vec<CellHash> = cells(text).into_iter().map(CellHash).collect();
    let mut found: Vec<Match> = Vec::new();
    view.prefixes().find(&chain, &mut found);
    let mut found: Vec<_> = found.iter().map(|m| (view.endpoint(m.slot).unwrap().id.0, m.cells)).collect();
    found.sort_unstable();
    found
}

fn in_flight(view: &View) -> Vec<InFlight> {
    view.endpoints().map(|(_, endpoint)| endpoint.in_flight()).collect()
}

/// Events of a snapshot with each prefix whole, as they come out of a stream's decoder.
fn whole(events: Vec<Event>) -> Vec<Event> {
    let mut prefixes = PrefixDecoder::default();
    let whole = |event: Event| match &event.kind {
        Some(Kind::Prefix(prefix)) => Kind::Prefix(prefixes.decode(prefix).unwrap()).into(),
        _ => event,
    };
    events.into_iter().map(whole).collect()
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0_u8..2, 0..12)
}

fn report() -> impl Strategy<Value = InFlightReport> {
    let count = prop_oneof![4 => 0_u32..5, 1 => Just(u32::MAX)];
    (0_u64..3, 0..ENDPOINTS, count, 0_u32..3, prop_oneof![4 => 0_u64..900, 1 => Just(u64::MAX)]).prop_map(
        |(origin, endpoint, requests, prefills, tokens)| InFlightReport {
            origin,
            endpoint: id(endpoint),
            requests,
            prefills,
            prefill_work: tokens,
            context_tokens: tokens,
        },
    )
}

proptest! {
    #[test]
    fn an_exported_view_equals_its_original(
        routed in prop::collection::vec((0..ENDPOINTS, text()), 0..60),
        reports in prop::collection::vec(report(), 0..8),
        capacity in 1_u64..40,
    ) {
        let mut view = view();
        for at in 0..ENDPOINTS {
            // 64 tokens are one cell at the assumed ratio.
            let status = EngineStatus { endpoint: id(at), capacity_tokens: Some(64 * capacity), ..EngineStatus::default() };
            view.apply(&Kind::EngineStatus(status).into(), Timestamp::ZERO);
        }
        for (at, text) in &routed {
            view.apply(&Kind::Routed(Routed { endpoint: id(*at), cells: cells(text), ..Routed::default() }).into(), Timestamp::ZERO);
        }
        for report in reports {
            view.apply(&Kind::InFlight(report).into(), Timestamp::ZERO);
        }
        let mut copy = View::default();
        for event in whole(view.export(Timestamp::ZERO)) {
            prop_assert_eq!(copy.apply(&event, Timestamp::ZERO), Applied::Changed);
        }
        prop_assert_eq!(copy.prefixes().cells(), view.prefixes().cells());
        prop_assert_eq!(in_flight(&copy), in_flight(&view));
        for (_, text) in &routed {
            prop_assert_eq!(found(&copy, text), found(&view, text));
        }
    }

    /// Only the last word of each origin about each endpoint counts.
    #[test]
    fn reports_heal(reports in prop::collection::vec((report(), 0_usize..3), 1..40)) {
        let mut all = view();
        let mut last: Vec<InFlightReport> = Vec::new();
        for (report, copies) in &reports {
            // Dropped, said once, or said twice.
            for _ in 0..*copies {
                all.apply(&Kind::InFlight(*report).into(), Timestamp::ZERO);
            }
            last.retain(|old| (old.origin, old.endpoint) != (report.origin, report.endpoint));
            last.push(*report);
        }
        let mut fresh = view();
        for report in &last {
            all.apply(&Kind::InFlight(*report).into(), Timestamp::ZERO);
        }
        for report in last.iter().rev() {
            fresh.apply(&Kind::InFlight(*report).into(), Timestamp::ZERO);
        }
        prop_assert_eq!(in_flight(&all), in_flight(&fresh));
        for origin in 0..3 {
            all.apply(&Kind::Gone(Gone { origin }).into(), Timestamp::ZERO);
        }
        prop_assert!(in_flight(&all).iter().all(|amount| *amount == InFlight::default()));
    }
}

#[test]
fn a_prefix_that_was_learned_under_a_wrong_parent_does_not_block_the_right_one() {
    let mut view = view();
    let prefix = |depth: u32, cells: Vec<u64>| {
        let held = vec![u32::try_from(cells.len()).unwrap()];
        Kind::Prefix(Prefix { depth, cells, endpoints: vec![id(0)], held })
    };
    let routed = |cells: Vec<u64>| Kind::Routed(Routed { endpoint: id(0), cells, ..Routed::default() });
    // Of a snapshot 1.., 11.., 21.., 31.. the third part was lost, so the last one hangs on the first.
    let events = [
        routed((21..=24).collect()),
        prefix(0, (1..=4).collect()),
        prefix(4, (11..=14).collect()),
        prefix(4, (31..=34).collect()),
        routed((21..=24).chain(31..=34).collect()),
    ];
    for event in events {
        view.apply(&event.into(), Timestamp::ZERO);
    }
    let right: Vec<CellHash> = (21..=24).chain(31..=34).map(CellHash).collect();
    let mut matches = Vec::new();
    view.prefixes().find(&right, &mut matches);
    assert_eq!(matches, [Match::on_gpu(Slot(0), 8)]);
}

#[test]
fn a_snapshot_does_not_make_what_it_restores_seem_useless_after_a_second() {
    let mut sender = view();
    let mut now = Timestamp::from_ms(1_000_000);
    // Twenty conversations whose turns come a minute apart.
    for turn in 1..=20 {
        for conversation in 1..=20 {
            let first = conversation * 1_000_000;
            let cells = (first..first + turn * 10).collect();
            sender.apply(&Kind::Routed(Routed { endpoint: id(0), cells, ..Routed::default() }).into(), now);
            now = now.plus_ms(3_000);
        }
    }
    let mut receiver = view();
    for event in sender.export(now) {
        receiver.apply(&event, now);
    }
    let later = now.plus_ms(30_000);
    let loss = |view: &View| {
        let (held, capacity) = view.prefixes().held(Slot(0));
        view.prefixes().loss(Slot(0), capacity - held + 80, later, |_| 1.0)
    };
    assert!(loss(&sender) > 20.0 && loss(&receiver) > 20.0, "{} {}", loss(&sender), loss(&receiver));
}

#[test]
fn a_silent_origin_is_dropped_and_one_that_is_alive_is_not() {
    let mut view = view();
    for origin in [1, 2] {
        let report = InFlightReport { origin, endpoint: id(0), requests: 1, ..InFlightReport::default() };
        view.apply(&Kind::InFlight(report).into(), Timestamp::from_ms(1_000));
    }
    view.apply(&Kind::Alive(Alive { origin: 2 }).into(), Timestamp::from_ms(1_001));
    assert!(view.expire(Timestamp::from_ms(1_000 + ORIGIN_SILENCE_MS_MAX)).is_empty());
    assert_eq!(view.expire(Timestamp::from_ms(1_001 + ORIGIN_SILENCE_MS_MAX)), [OriginId(1)]);
    assert_eq!(in_flight(&view)[0].requests, 1);
    assert_eq!(view.expire(Timestamp::from_ms(1_002 + ORIGIN_SILENCE_MS_MAX)), [OriginId(2)]);
    assert_eq!(in_flight(&view)[0].requests, 0);
}

#[test]
fn a_new_endpoint_in_an_old_slot_holds_nothing() {
    let mut view = view();
    view.apply(
        &Kind::Routed(Routed { endpoint: id(1), cells: cells(&[0, 1]), ..Routed::default() }).into(),
        Timestamp::ZERO,
    );
    assert_eq!(view.apply(&pools([0, 9, 2, 3].into_iter()).into(), Timestamp::ZERO), Applied::Changed);
    assert_eq!(view.endpoints().count(), ENDPOINTS);
    assert!(found(&view, &[0, 1]).is_empty());
    view.apply(
        &Kind::Routed(Routed { endpoint: id(9), cells: cells(&[0, 1]), ..Routed::default() }).into(),
        Timestamp::ZERO,
    );
    assert_eq!(found(&view, &[0, 1]), [(id(9), 2)]);
}

#[test]
fn another_pod_at_the_same_address_holds_nothing_and_has_failed_nothing() {
    let mut view = view();
    let learned = Kind::Routed(Routed { endpoint: id(1), cells: cells(&[0]), ..Routed::default() }).into();
    let identified = |identity: u64| {
        let Kind::Pools(mut pools) = pools(0..ENDPOINTS) else { unreachable!() };
        let endpoint = &mut pools.pools[0].endpoints[1];
        endpoint.identity = identity;
        endpoint.set_role(Role::Prefill);
        Event::from(Kind::Pools(pools))
    };
    view.apply(&learned, Timestamp::ZERO);
    for identity in [7, 0, 7] {
        view.apply(&identified(identity), Timestamp::ZERO);
        assert_eq!(
            found(&view, &[0]),
            [(id(1), 1)],
            "the first to be known, and one that is not known: {identity}"
        );
    }
    view.apply(&came_to(1, OutcomeClass::Unreachable, 0), Timestamp::ZERO);
    let slot = view.slot(EndpointId(id(1))).unwrap();
    assert_eq!(view.endpoint(slot).unwrap().fitness(Timestamp::ZERO), Fitness::Avoided);
    view.apply(&identified(8), Timestamp::ZERO);
    let endpoint = view.endpoint(slot).unwrap();
    assert_eq!((endpoint.identity, endpoint.role), (8, Role::Prefill));
    assert_eq!(endpoint.fitness(Timestamp::ZERO), Fitness::Fit);
    assert!(found(&view, &[0]).is_empty());
}

#[test]
fn a_full_view_takes_as_many_new_endpoints_as_old_ones_leave() {
    let mut view = View::default();
    assert_eq!(view.apply(&pools(0..ENDPOINTS_MAX).into(), Timestamp::ZERO), Applied::Changed);
    assert_eq!(view.apply(&pools(10..ENDPOINTS_MAX + 10).into(), Timestamp::ZERO), Applied::Changed);
    assert_eq!(view.apply(&pools(0..=ENDPOINTS_MAX).into(), Timestamp::ZERO), Applied::Cut);
    assert_eq!(view.endpoints().count(), ENDPOINTS_MAX);
}

#[test]
fn an_engine_is_cold_when_its_process_has_changed_and_not_when_it_cannot_be_reached() {
    let mut view = view();
    let status = |health: Health, incarnation: u64| {
        Event::from(Kind::EngineStatus(EngineStatus {
            endpoint: id(0),
            health: health.into(),
            incarnation,
            ..EngineStatus::default()
        }))
    };
    view.apply(
        &Kind::Routed(Routed { endpoint: id(0), cells: cells(&[0]), ..Routed::default() }).into(),
        Timestamp::ZERO,
    );
    for (health, incarnation) in
        [(Health::Healthy, 7), (Health::Unhealthy, 7), (Health::Unknown, 0), (Health::Healthy, 7)]
    {
        view.apply(&status(health, incarnation), Timestamp::ZERO);
        assert_eq!(found(&view, &[0]), [(id(0), 1)], "{health:?} {incarnation}");
    }
    view.apply(&status(Health::Healthy, 8), Timestamp::ZERO);
    assert!(found(&view, &[0]).is_empty());
}

#[test]
fn failures_reported_twice_count_once_and_a_first_token_ends_them() {
    let mut view = view();
    let slot = view.slot(EndpointId(id(0))).unwrap();
    let fail = came_to(0, OutcomeClass::Full, 0);
    let is_fit = |view: &View, now_ms| {
        view.endpoint(slot).unwrap().fitness(Timestamp::from_ms(now_ms)).label() == "fit"
    };
    view.apply(&fail, Timestamp::ZERO);
    view.apply(&fail, Timestamp::from_ms(10));
    assert!(!is_fit(&view, 999));
    assert!(is_fit(&view, 1_000));
    view.apply(&fail, Timestamp::from_ms(1_000));
    assert!(!is_fit(&view, 2_999));
    view.apply(&came_to(0, OutcomeClass::Served, 1_001), Timestamp::from_ms(2_000));
    assert!(!is_fit(&view, 2_000), "a full engine goes on serving what it has taken");
    view.apply(&came_to(0, OutcomeClass::Served, 999), Timestamp::from_ms(2_000));
    assert!(is_fit(&view, 2_000));
}

/// An hour back: what was noted before counts as old, not as still to come.
#[test]
fn a_clock_that_is_set_back_neither_avoids_nor_keeps_for_an_hour() {
    let (before, after) = (Timestamp::from_ms(10_000_000), Timestamp::from_ms(6_400_000));
    let mut view = view();
    view.apply(&came_to(0, OutcomeClass::Full, 0), before);
    view.apply(
        &Kind::InFlight(InFlightReport {
            origin: 7,
            endpoint: id(1),
            requests: 3,
            ..InFlightReport::default()
        })
        .into(),
        before,
    );
    assert_eq!(view.expire(after), vec![OriginId(7)]);
    assert!(view.endpoints().all(|(_, endpoint)| endpoint.fitness(after) == Fitness::Fit));
    assert!(view.endpoints().any(|(_, endpoint)| endpoint.fitness(before) == Fitness::Avoided));
}

/// The engine still has what its GPU evicted; only what runs must fit on the GPU.
#[test]
fn tiers_below_the_gpu_are_room_for_cells_and_not_for_requests() {
    let mut view = view();
    let slot = view.slot(EndpointId(id(0))).unwrap();
    let report = |view: &mut View, kv_below_gpu_tokens| {
        let status = EngineStatus {
            endpoint: id(0),
            kv_used_permille: 500,
            capacity_tokens: Some(64 * 4),
            kv_below_gpu_tokens,
            ..EngineStatus::default()
        };
        view.apply(&Kind::EngineStatus(status).into(), Timestamp::ZERO);
        view.prefixes().held(slot).1
    };
    assert_eq!(report(&mut view, 0), 4);
    assert_eq!(report(&mut view, 64 * 6), 10);
    assert_eq!(view.endpoint(slot).unwrap().used_tokens(), 64 * 2);
    view.apply(
        &Kind::Routed(Routed { endpoint: id(0), cells: cells(&[0; 10]), ..Routed::default() }).into(),
        Timestamp::ZERO,
    );
    assert_eq!(found(&view, &[0; 10]), [(id(0), 10)]);
    assert_eq!(report(&mut view, 64), 5, "a tier that is gone takes its cells along");
    assert_eq!(found(&view, &[0; 10]), [(id(0), 5)]);
}

#[test]
fn a_learned_ratio_resizes_what_endpoints_may_hold() {
    let mut view = view();
    let slot = view.slot(EndpointId(id(0))).unwrap();
    let (_, before) = view.prefixes().held(slot);
    for _ in 0..200 {
        let ratio =
            UsageSeen { pool: "p".into(), prompt_bytes: 2_000, prompt_tokens: 1_000, ..UsageSeen::default() };
        view.apply(&Kind::UsageSeen(ratio).into(), Timestamp::ZERO);
    }
    let (_, after) = view.prefixes().held(slot);
    assert!(after > before * 45 / 100 && after < before * 55 / 100, "{before} cells became {after}");
}

#[test]
fn nonsense_is_reported_and_changes_nothing() {
    let mut view = view();
    assert_eq!(view.apply(&Event { kind: None }, Timestamp::ZERO), Applied::Unsupported);
    assert_eq!(
        view.apply(
            &Kind::Routed(Routed { endpoint: 1, cells: vec![1], ..Routed::default() }).into(),
            Timestamp::ZERO
        ),
        Applied::Unknown
    );
    assert_eq!(
        view.apply(
            &Kind::UsageSeen(UsageSeen { pool: "x".into(), ..UsageSeen::default() }).into(),
            Timestamp::ZERO
        ),
        Applied::Unknown
    );
    let long = Kind::Routed(Routed { endpoint: id(0), cells: (0..9_000).collect(), ..Routed::default() });
    assert_eq!(view.apply(&long.into(), Timestamp::ZERO), Applied::Cut);
    let prefix = Prefix { depth: 1, cells: vec![1], endpoints: vec![id(0)], held: vec![1] };
    assert_eq!(view.apply(&prefix.into(), Timestamp::ZERO), Applied::Detached);
    let long = Prefix { depth: 0, cells: vec![1; 9_000], endpoints: vec![id(0)], held: vec![9_000] };
    assert_eq!(view.apply(&long.into(), Timestamp::ZERO), Applied::Cut);
    let held = Prefix { depth: 0, cells: vec![1], endpoints: vec![id(0)], held: vec![u32::MAX] };
    assert_eq!(view.apply(&held.into(), Timestamp::ZERO), Applied::Changed);
}

#[test]
fn plausible_response_lengths_are_learned() {
    let mut view = view();
    let mut observe = |output_tokens| {
        for _ in 0..400 {
            let ratio = UsageSeen {
                pool: "p".into(),
                prompt_bytes: 2_000,
                prompt_tokens: 500,
                output_tokens,
                ..UsageSeen::default()
            };
            view.apply(&Kind::UsageSeen(ratio).into(), Timestamp::ZERO);
        }
        view.pools()[0].output_tokens()
    };
    assert!((observe(Some(1_000)) - 1_000.0).abs() < 1.0);
    assert!((observe(None) - 1_000.0).abs() < 1.0, "no length, nothing to learn");
    assert!((observe(Some(0)) - 1_000.0).abs() < 1.0, "an empty response counts as no length");
    assert!(observe(Some(u64::MAX)) < 200_000.0, "one engine's nonsense must not decide for good");
}

/// An endpoint with requests that wait in the engine, `prefills` of them with 4,000 tokens each to prefill.
fn queue(view: &mut View, prefills: u32, now_ms: u64) {
    let prefill_work = u64::from(prefills) * 4_000;
    let report = InFlightReport {
        origin: 1,
        endpoint: id(0),
        requests: prefills,
        prefills,
        prefill_work,
        context_tokens: prefill_work,
    };
    view.apply(&Kind::InFlight(report).into(), Timestamp::from_ms(now_ms));
    view.apply(
        &Kind::EngineStatus(EngineStatus { endpoint: id(0), waiting: 1, ..EngineStatus::default() }).into(),
        Timestamp::from_ms(now_ms),
    );
}

fn is_held_up(view: &View, now_ms: u64) -> bool {
    view.endpoint(view.slot(EndpointId(id(0))).unwrap()).unwrap().is_held_up(Timestamp::from_ms(now_ms))
}

#[test]
fn requests_that_others_pass_by_are_held_up_though_first_tokens_come() {
    let mut view = view();
    queue(&mut view, 1, 0);
    // Each second one more comes and is served, past the first.
    for second in 1..=5 {
        queue(&mut view, 2, second * 1_000);
        queue(&mut view, 1, second * 1_000 + 300);
    }
    assert!(is_held_up(&view, 6_000));
    view.apply(
        &Kind::EngineStatus(EngineStatus { endpoint: id(0), ..EngineStatus::default() }).into(),
        Timestamp::from_ms(6_000),
    );
    assert!(!is_held_up(&view, 6_000), "the engine says that nobody waits");
}

#[test]
fn a_queue_for_prefill_is_not_held_up() {
    let mut view = view();
    queue(&mut view, 8, 0);
    // 4,000 tokens take 235 ms at the speed that is assumed; here the engine takes half as long again.
    for served in 1..=8 {
        let now_ms = u64::from(served) * 353;
        assert!(!is_held_up(&view, now_ms - 1), "before first token {served}");
        queue(&mut view, 8 - served, now_ms);
    }
}
