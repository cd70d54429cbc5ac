//! Held requests in a view: they are part of what rebuilds it.

#![allow(clippy::indexing_slicing, reason = "a test may panic")]

use warmpath_core::ids::{EndpointId, OriginId};
use warmpath_core::time::Timestamp;
use warmpath_core::view::{Applied, View};
use warmpath_core::wire::{
    Event, Held, HeldFor, Hold, InFlightReport, Kind, Pool, PoolEndpoint, Pools, Released, Role, Transfer,
    WakeTime,
};

/// VMs that hold requests.
const ORIGINS: u64 = 20;

#[test]
fn who_waits_is_part_of_a_snapshot_with_the_time_for_which_it_has() {
    let with = |hold| {
        let pool = Pool { name: "p".into(), models: vec!["m".into()], hold, ..Pool::default() };
        Event::from(Kind::Pools(Pools { pools: vec![pool] }))
    };
    let waits = Some(Hold { room_ms_max: 60_000, ..Hold::default() });
    let held = |number, age_ms| Held {
        origin: 7,
        number,
        pool: "p".into(),
        held_for: HeldFor::Room.into(),
        age_ms,
        conversation: 5,
        tokens: 9_000,
        tenant: 3,
        priority: -1,
        body_bytes: 400,
    };
    let (mut view, then) = (View::default(), Timestamp::from_ms(100_000));
    view.apply(&with(waits), then);
    for number in [1, 2, 3] {
        view.apply(&Kind::Held(held(number, 2_000)).into(), then);
    }
    view.apply(&Kind::Released(Released { origin: 7, number: 2, is_sent: false }).into(), then);
    let later = then.plus_ms(500);
    let waiting = |view: &View| -> Vec<Held> {
        let kinds = view.export(later).into_iter().filter_map(|event| event.kind);
        kinds.filter_map(|kind| if let Kind::Held(held) = kind { Some(held) } else { None }).collect()
    };
    assert_eq!(waiting(&view), [held(1, 2_500), held(3, 2_500)]);
    let mut copy = View::default();
    for event in view.export(later) {
        assert_eq!(copy.apply(&event, later), Applied::Changed);
    }
    assert_eq!(waiting(&copy), waiting(&view));
    copy.apply(&with(None), later);
    assert_eq!(waiting(&copy), [], "a pool that holds nothing");
    assert_eq!(copy.apply(&Kind::Held(held(4, 0)).into(), later), Applied::Unknown);
}

#[test]
fn how_long_a_pool_takes_to_wake_survives_a_snapshot_and_a_new_list_of_endpoints() {
    let pools = || {
        let pool = Pool { name: "p".into(), models: vec!["m".into()], ..Pool::default() };
        Event::from(Kind::Pools(Pools { pools: vec![pool] }))
    };
    let wake = |pool: &str, passed_ms| WakeTime {
        pool: pool.into(),
        usual_ms: 90_000,
        passed_ms,
        is_growing: false,
    };
    let (mut view, then) = (View::default(), Timestamp::from_ms(100_000));
    view.apply(&pools(), then);
    view.apply(&Kind::WakeTime(wake("p", Some(20_000))).into(), then);
    view.apply(&pools(), then);
    assert_eq!(view.apply(&Kind::WakeTime(wake("other", None)).into(), then), Applied::Unknown);
    let (mut copy, later) = (View::default(), then.plus_ms(30_000));
    for event in view.export(later) {
        copy.apply(&event, later);
    }
    let ready_in_ms = |view: &View| view.pools()[0].wake().and_then(|wake| wake.ready_in_ms(later));
    assert_eq!((ready_in_ms(&view), ready_in_ms(&copy)), (Some(40_000), Some(40_000)));
    copy.apply(&Kind::WakeTime(WakeTime { usual_ms: 0, ..wake("p", None) }).into(), later);
    assert_eq!(ready_in_ms(&copy), None, "it is not known any more");
}

/// The pool `p` with these endpoints, for which `ORIGINS` VMs hold two requests of 5,000 tokens each while more engines are to come.
fn waking(endpoints: Vec<PoolEndpoint>, transfer: Option<Transfer>, now: Timestamp) -> View {
    let limits = Some(Hold { endpoint_ms_max: 60_000, ..Hold::default() });
    let models = vec!["m".into()];
    let pool = Pool { name: "p".into(), models, hold: limits, endpoints, transfer, ..Pool::default() };
    let mut view = View::default();
    view.apply(&Kind::Pools(Pools { pools: vec![pool] }).into(), now);
    let wake = WakeTime { pool: "p".into(), is_growing: true, ..WakeTime::default() };
    view.apply(&Kind::WakeTime(wake).into(), now);
    for (origin, number) in (1..=ORIGINS).flat_map(|origin| [(origin, 1), (origin, 2_u64)]) {
        // The last origin's is the oldest, and each one's second a little younger than its first.
        let age_ms = 1_000 * number.abs_diff(3) + origin;
        let waiting = Held { origin, number, pool: "p".into(), age_ms, tokens: 5_000, ..Held::default() };
        view.apply(&Kind::Held(waiting).into(), now);
    }
    assert!(view.is_pacing(&view.pools()[0]));
    view
}

/// Which VMs send which of their requests next.
fn sent(view: &View, now: Timestamp) -> Vec<(u64, u64)> {
    let next = |origin: u64| view.next_paced(&view.pools()[0], (OriginId(origin), |_| true), now);
    (1..=ORIGINS).filter_map(|origin| Some((origin, next(origin)?.number))).collect()
}

fn endpoint(address: &str, role: Role) -> PoolEndpoint {
    let mut endpoint = PoolEndpoint { address: address.into(), ..PoolEndpoint::default() };
    endpoint.set_role(role);
    endpoint
}

/// At the moment at which the first engine is ready, each VM of each proxy looks at what it holds.
#[test]
fn all_vms_together_send_no_more_than_an_engine_can_take_before_the_next_one_comes() {
    let now = Timestamp::from_ms(100_000);
    let view = waking(vec![endpoint("10.0.0.1:8000", Role::Both)], None, now);
    let expected = [(17, 1), (18, 1), (19, 1), (20, 1)];
    assert_eq!(sent(&view, now), expected, "17,000 tokens a second, the oldest first");
}

/// What engines for responses could compute is free while requests are split.
#[test]
fn requests_wait_for_the_next_engine_for_prompts_though_those_for_responses_are_idle() {
    let now = Timestamp::from_ms(100_000);
    let (prefill, decode) = ("10.0.0.1:8000", "10.0.0.2:8000");
    let endpoints = vec![endpoint(prefill, Role::Prefill), endpoint(decode, Role::Decode)];
    let mut view = waking(endpoints, Some(Transfer::default()), now);
    assert_eq!(sent(&view, now).len(), 4);
    let booked = InFlightReport {
        origin: 1,
        endpoint: EndpointId::of(prefill).0,
        requests: 8,
        prefills: 8,
        prefill_work: 40_000,
        ..InFlightReport::default()
    };
    view.apply(&Kind::InFlight(booked).into(), now);
    assert_eq!(sent(&view, now), [], "the engine for prompts has two seconds of work");
}
