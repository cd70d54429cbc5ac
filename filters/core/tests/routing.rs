//! What any sane rule chooses, whatever its constants: orderings, not seconds.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use std::collections::BTreeSet;
use warmpath_core::cost::{Averages, CostInput, Term, Weights, Work};
use warmpath_core::ids::{CellHash, EndpointId, ProcessId, TenantId};
use warmpath_core::limits::SCAN_ENDPOINTS_MAX;
use warmpath_core::prompt::Size;
use warmpath_core::routing::{Decision, Explanation, NoEndpoint, Options, Query, Reason, choose};
use warmpath_core::time::Timestamp;
use warmpath_core::view::View;
use warmpath_core::wire::{
    EngineStatus, Health, Hold, InFlightReport, Kind, Outcome, OutcomeClass, Pool, PoolEndpoint, Pools,
    Proxies, Routed, Transfer,
};

const CELLS: u64 = 64;
/// Tokens of that many cells at the assumed ratio.
const TOKENS: u64 = CELLS * 64;

struct World {
    view: View,
}

fn text_of(text_bytes: u64) -> Size {
    Size { text_bytes, ..Size::default() }
}

impl World {
    fn new(endpoints: usize) -> Self {
        Self::of(endpoints, None)
    }

    fn of(endpoints: usize, transfer: Option<Transfer>) -> Self {
        let mut view = View::default();
        let endpoints = (0..endpoints)
            .map(|at| PoolEndpoint { address: Self::address(at), ..PoolEndpoint::default() })
            .collect();
        let pool = Pool {
            name: "p".into(),
            models: vec!["m".into()],
            adapters: vec![],
            endpoints,
            transfer,
            ..Pool::default()
        };
        view.apply(&Kind::Pools(Pools { pools: vec![pool] }).into(), Timestamp::ZERO);
        Self { view }
    }

    fn address(at: usize) -> String {
        format!("10.0.{}.{}:80", at / 200, at % 200)
    }

    fn id(at: usize) -> u64 {
        EndpointId::of(&Self::address(at)).0
    }

    fn holds(mut self, at: usize, cells: u64) -> Self {
        self.view.apply(
            &Kind::Routed(Routed {
                endpoint: Self::id(at),
                cells: (1..=cells).collect(),
                ..Routed::default()
            })
            .into(),
            Timestamp::ZERO,
        );
        self
    }

    fn queues(mut self, at: usize, requests: u32) -> Self {
        let prefill_work = u64::from(requests) * 4_000;
        let load = InFlightReport {
            origin: 1,
            endpoint: Self::id(at),
            requests,
            prefills: requests,
            prefill_work,
            context_tokens: prefill_work,
        };
        self.view.apply(&Kind::InFlight(load).into(), Timestamp::ZERO);
        self
    }

    fn is(mut self, at: usize, health: Health) -> Self {
        let status =
            EngineStatus { endpoint: Self::id(at), health: health.into(), ..EngineStatus::default() };
        self.view.apply(&Kind::EngineStatus(status).into(), Timestamp::ZERO);
        self
    }

    fn failed(mut self, at: usize) -> Self {
        self.view.apply(
            &Kind::Outcome(Outcome {
                endpoint: Self::id(at),
                class: OutcomeClass::Full.into(),
                ..Outcome::default()
            })
            .into(),
            Timestamp::ZERO,
        );
        self
    }

    /// As the proxy in `place` of so many that route.
    fn seen_by(mut self, place: u64, proxies: u64) -> Self {
        self.view.set_process(ProcessId(place + 1));
        self.view
            .apply(&Kind::Proxies(Proxies { processes: (1..=proxies).collect() }).into(), Timestamp::ZERO);
        self
    }

    fn query(&self) -> Result<Query<'_>, NoEndpoint> {
        let chain = (1..=CELLS).map(CellHash).collect();
        Query::of_chain(&self.view, "m", chain, text_of(CELLS * 256), None, Timestamp::ZERO)
    }

    fn ask(&self, nonce: u64, alternates: usize) -> Result<Decision, NoEndpoint> {
        let weights = Weights::default();
        choose(&self.query()?, &Options { alternates, nonce, now: Timestamp::from_ms(1), weights })
    }

    fn chosen(&self, nonce: u64) -> (String, Reason) {
        let decision = self.ask(nonce, 0).unwrap();
        (decision.destinations(), decision.reason)
    }
}

#[test]
fn of_idle_endpoints_the_holder_wins() {
    let world = World::new(8).holds(5, CELLS);
    for nonce in 0..100 {
        assert_eq!(world.chosen(nonce), (World::address(5), Reason::Warm));
    }
}

#[test]
fn of_two_holders_the_longer_wins() {
    let world = World::new(8).holds(5, CELLS / 2).holds(2, CELLS);
    assert_eq!(world.chosen(1), (World::address(2), Reason::Warm));
}

#[test]
fn a_holder_with_a_huge_queue_loses_to_an_idle_one() {
    let world = World::new(2).holds(0, CELLS).queues(0, 100);
    assert_eq!(world.chosen(1), (World::address(1), Reason::Spill));
}

#[test]
fn without_a_holder_the_idle_one_wins() {
    let world = World::new(3).queues(0, 2).queues(2, 1);
    assert_eq!(world.chosen(1), (World::address(1), Reason::Cold));
}

#[test]
fn the_unhealthy_are_neither_chosen_nor_alternates_while_others_are_healthy() {
    let world = World::new(3).holds(0, CELLS).is(0, Health::Unhealthy).is(1, Health::Healthy).queues(1, 50);
    let decision = world.ask(3, usize::MAX).unwrap();
    assert_eq!(decision.ranked().count(), 2);
    assert!(decision.ranked().all(|candidate| candidate.address != World::address(0)));
}

#[test]
fn a_pool_of_which_all_are_unhealthy_is_one_of_which_all_may_be_tried() {
    let world = World::new(3).holds(1, CELLS);
    let world = world.is(0, Health::Unhealthy).is(1, Health::Unhealthy).is(2, Health::Unhealthy);
    assert_eq!(world.ask(3, usize::MAX).unwrap().ranked().count(), 3);
    assert_eq!(world.chosen(3).0, World::address(1));
}

#[test]
fn the_avoided_are_chosen_only_when_nothing_is_fit() {
    let world = World::new(2).holds(0, CELLS).failed(0).queues(1, 10);
    assert_eq!(world.chosen(1).0, World::address(1));
    assert_eq!(world.failed(1).chosen(1).0, World::address(0));
}

#[test]
fn an_empty_pool_has_no_endpoint() {
    assert_eq!(World::new(0).ask(1, 3).unwrap_err(), NoEndpoint::NoneKnown);
}

#[test]
fn a_nonce_decides_ties_always_in_the_same_way() {
    let world = World::new(8);
    let chosen: BTreeSet<String> = (0..200).map(|nonce| world.chosen(nonce).0).collect();
    assert_eq!(chosen.len(), 8);
    for nonce in 0..20 {
        assert_eq!(world.ask(nonce, 7).unwrap().destinations(), world.ask(nonce, 7).unwrap().destinations());
    }
}

#[test]
fn a_large_pool_finds_its_holder_and_looks_at_few() {
    let world = World::new(1_000).holds(777, CELLS);
    for nonce in 0..20 {
        let decision = world.ask(nonce, 3).unwrap();
        assert_eq!(decision.chosen.address, World::address(777));
        assert!(decision.considered < SCAN_ENDPOINTS_MAX, "{}", decision.considered);
        assert_eq!(decision.ranked().count(), 4);
    }
}

#[test]
fn a_large_pool_of_equal_holders_is_used_evenly() {
    let world = (0..300).fold(World::new(300), |world, at| world.holds(at, CELLS));
    let chosen: BTreeSet<String> = (0..1_000).map(|nonce| world.chosen(nonce).0).collect();
    assert!(chosen.len() > 250, "{} of 300 were ever chosen", chosen.len());
}

#[test]
fn a_large_pool_that_is_nearly_dead_still_serves() {
    let world =
        (0..300).filter(|at| *at != 123).fold(World::new(300), |world, at| world.is(at, Health::Unhealthy));
    for nonce in 0..20 {
        assert_eq!(world.chosen(nonce).0, World::address(123));
    }
    let world = (0..300).filter(|at| *at != 123).fold(World::new(300), World::failed);
    assert_eq!(world.chosen(1).0, World::address(123));
}

#[test]
fn an_endpoint_that_left_the_pool_is_no_candidate() {
    let mut world = World::new(200).holds(0, CELLS);
    let pool = |name: &str, model: &str, endpoints: std::ops::Range<usize>| Pool {
        name: name.into(),
        models: vec![model.into()],
        adapters: vec![],
        endpoints: endpoints
            .map(|at| PoolEndpoint { address: World::address(at), ..PoolEndpoint::default() })
            .collect(),
        ..Pool::default()
    };
    world.view.apply(
        &Kind::Pools(Pools { pools: vec![pool("p", "m", 1..200), pool("q", "other", 0..1)] }).into(),
        Timestamp::ZERO,
    );
    let decision = world.ask(1, usize::MAX).unwrap();
    assert!(decision.ranked().all(|candidate| candidate.address != World::address(0)));
    assert_eq!(decision.reason, Reason::Cold);
}

proptest! {
    /// Against the least of all costs, computed one by one.
    #[test]
    fn the_least_cost_wins(
        held in prop::collection::vec(0..=CELLS, 6),
        queued in prop::collection::vec(0_u32..6, 6),
        failed in prop::collection::vec(any::<bool>(), 6),
        nonce in any::<u64>(),
    ) {
        let mut world = World::new(6);
        for at in 0..6 {
            world = world.holds(at, held[at]).queues(at, queued[at]);
            if failed[at] {
                world = world.failed(at);
            }
        }
        let decision = world.ask(nonce, usize::MAX).unwrap();
        prop_assert_eq!(decision.ranked().count(), 6);
        let all: Vec<&str> = decision.ranked().map(|candidate| candidate.address.as_str()).collect();
        for alternates in 0..6 {
            let few = world.ask(nonce, alternates).unwrap();
            prop_assert_eq!(few.destinations(), all[..=alternates].join(","));
            prop_assert_eq!((few.reason, few.considered), (decision.reason, 6));
        }
        let averages = Averages::of(world.view.endpoints().map(|(_, endpoint)| endpoint), Timestamp::from_ms(1));
        let cost = |at: usize| {
            let slot = world.view.slot(EndpointId(World::id(at))).unwrap();
            let endpoint = world.view.endpoint(slot).unwrap();
            let work = Work {
                prompt_tokens: TOKENS,
                cached_tokens: (held[at] * 64).min(TOKENS - 1),
                output_tokens: 256,
                // The caches have room, all that they hold is on the GPU, and nobody else routes.
                ..Work::default()
            };
            let terms = CostInput::new(endpoint, &averages, Timestamp::from_ms(1)).terms(&work);
            (endpoint.fitness(Timestamp::from_ms(1)), Weights::default().total_s(&terms))
        };
        let costs: Vec<_> = (0..6).map(cost).collect();
        let least = costs.iter().copied().min_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))).unwrap();
        let best = &decision.chosen;
        prop_assert_eq!(best.fitness, least.0);
        prop_assert!((best.cost_s - least.1).abs() <= 1e-6, "{} is not {}", best.cost_s, least.1);
    }
}

#[test]
fn long_prompt_passes_by_a_short_hit_where_many_would_be_held_up() {
    // The holder has a cell of 64 and twenty requests; each would wait for the rest of the prompt.
    let world = World::new(2).holds(0, 1).queues(0, 20);
    assert_eq!(world.chosen(1).0, World::address(1));
}

#[test]
fn where_requests_may_be_split_a_response_avoids_the_endpoint_that_prefills() {
    let chosen = |transfer: Option<Transfer>| -> BTreeSet<String> {
        // Twenty prompts came to the first, and are done.
        let world = World::of(2, transfer).queues(0, 20).queues(0, 0);
        (0..20).map(|nonce| world.chosen(nonce).0).collect()
    };
    assert_eq!(chosen(Some(Transfer::default())), BTreeSet::from([World::address(1)]));
    assert_eq!(chosen(None).len(), 2, "where each prefills its own, what was before is chance");
}

#[test]
fn the_backlog_drains_without_events() {
    let world = World::new(2).queues(0, 2);
    let (_, endpoint) = world.view.endpoints().next().unwrap();
    let s_per_token = 1e-3;
    let at = |now_ms| endpoint.backlog_tokens(s_per_token, Timestamp::from_ms(now_ms));
    assert!((at(0) - 8_000.0).abs() < 1e-9);
    assert!((at(3_000) - 5_000.0).abs() < 1e-9);
    assert!(at(3_600_000) > 0.0, "overdue is not done");
}

#[test]
fn each_term_can_be_left_out_and_counts_otherwise() {
    let world = World::new(2).holds(0, CELLS / 2).queues(0, 3).queues(1, 1).seen_by(0, 2);
    let costs = |weights| -> Vec<f64> {
        let options = Options { alternates: usize::MAX, nonce: 1, now: Timestamp::from_ms(1), weights };
        let decision = choose(&world.query().unwrap(), &options).unwrap();
        let mut candidates: Vec<_> = decision.ranked().cloned().collect();
        candidates.sort_by(|a, b| a.address.cmp(&b.address));
        candidates.iter().map(|candidate| candidate.cost_s).collect()
    };
    let whole = costs(Weights::default());
    for term in Term::ALL {
        let counts = costs(Weights::default().without(term)) != whole;
        // There is room in both caches, and there is nothing below the GPU, no adapter and no split.
        assert_eq!(
            counts,
            !matches!(term, Term::Evict | Term::Load | Term::Adapter | Term::Transfer),
            "{}",
            term.label()
        );
    }
}

#[test]
fn cost_stays_finite_where_more_arrives_than_can_be_served() {
    let mut world = World::new(2);
    for requests in 1..=500 {
        world = world.queues(0, requests);
    }
    for candidate in world.ask(1, usize::MAX).unwrap().ranked() {
        assert!(candidate.cost_s.is_finite() && candidate.terms[Term::Later] >= 0.0, "{:?}", candidate.terms);
    }
    assert_eq!(world.chosen(1).0, World::address(1));
}

#[test]
fn proxies_that_do_not_see_each_other_take_a_new_prompt_to_endpoints_of_their_own() {
    let chosen_by = |place| -> BTreeSet<String> {
        (0..50).map(|nonce| World::new(4).seen_by(place, 2).chosen(nonce).0).collect()
    };
    let (one, other) = (chosen_by(0), chosen_by(1));
    assert_eq!((one.len(), other.len()), (2, 2));
    assert!(one.is_disjoint(&other), "{one:?} {other:?}");
    let held = |place| World::new(4).holds(2, CELLS).seen_by(place, 2).chosen(1);
    assert_eq!((held(0), held(1)), ((World::address(2), Reason::Warm), (World::address(2), Reason::Warm)));
    let busy = World::new(2).queues(0, 20).seen_by(0, 2);
    let idle = World::new(2).queues(1, 20).seen_by(0, 2);
    assert_eq!(
        (busy.chosen(1).0, idle.chosen(1).0),
        (World::address(1), World::address(0)),
        "a turn is no wall"
    );
}

#[test]
fn what_is_cached_somewhere_causes_no_contention() {
    // Another proxy's prompt, too, goes where its beginning is cached: only the rest may be in the way.
    for place in 0..2 {
        let world = World::new(2).holds(0, CELLS * 45 / 100).seen_by(place, 2);
        assert_eq!(world.chosen(1).0, World::address(0), "place {place}");
    }
}

#[test]
fn a_proxy_that_is_not_among_those_that_route_has_all_endpoints() {
    let mut world = World::new(4).seen_by(7, 2);
    let all: BTreeSet<String> = (0..100).map(|nonce| world.chosen(nonce).0).collect();
    assert_eq!(all.len(), 4);
    world = world.seen_by(0, 1);
    let alone: BTreeSet<String> = (0..100).map(|nonce| world.chosen(nonce).0).collect();
    assert_eq!(alone.len(), 4);
}

/// An explanation of a request for a model of the pool, and the same when it has come over HTTP.
fn explanation(pool: Pool, model: &str) -> Explanation {
    let mut view = View::default();
    view.apply(&Kind::Pools(Pools { pools: vec![pool] }).into(), Timestamp::ZERO);
    // It holds as much as it can, so that room is short.
    let endpoint = World::id(0);
    let full = EngineStatus { endpoint, capacity_tokens: Some(64), ..EngineStatus::default() };
    view.apply(&Kind::EngineStatus(full).into(), Timestamp::ZERO);
    view.apply(
        &Kind::Routed(Routed { endpoint, cells: vec![2], ..Routed::default() }).into(),
        Timestamp::ZERO,
    );
    view.expire(Timestamp::ZERO);
    let query =
        Query::of_chain(&view, model, vec![CellHash(1)], text_of(256), None, Timestamp::ZERO).unwrap();
    let options =
        Options { alternates: usize::MAX, nonce: 1, now: Timestamp::ZERO, weights: Weights::default() };
    let explanation = Explanation::of(&query, TenantId::default(), &options).unwrap();
    let json = serde_json::to_string(&explanation).unwrap();
    assert_eq!(serde_json::from_str::<Explanation>(&json).unwrap(), explanation);
    explanation
}

#[test]
fn a_model_that_any_name_stands_for_is_not_explained_as_an_adapter() {
    let pool = |model: &str, adapters: Vec<String>| Pool {
        name: "p".into(),
        models: vec![model.into()],
        adapters,
        endpoints: vec![PoolEndpoint { address: World::address(0), ..PoolEndpoint::default() }],
        ..Pool::default()
    };
    let any = explanation(pool("*", vec![]), "gpt");
    assert_eq!((any.model.as_str(), any.is_adapter), ("gpt", false));
    let adapter = explanation(pool("base", vec!["sql".into()]), "sql");
    assert_eq!((adapter.model.as_str(), adapter.is_adapter), ("sql", true));
    assert!(!explanation(pool("base", vec!["sql".into()]), "base").is_adapter);
    assert_eq!(any.candidates.len(), 1);
}

#[test]
fn what_the_gate_says_is_explained_where_requests_wait_for_room() {
    let pool = |hold| Pool {
        name: "p".into(),
        models: vec!["m".into()],
        endpoints: vec![PoolEndpoint { address: World::address(0), ..PoolEndpoint::default() }],
        hold,
        ..Pool::default()
    };
    assert_eq!(explanation(pool(None), "m").gate, None);
    let for_endpoint = Hold { endpoint_ms_max: 60_000, ..Hold::default() };
    assert_eq!(explanation(pool(Some(for_endpoint)), "m").gate, None);
    let gate = explanation(pool(Some(Hold { room_ms_max: 60_000, ..Hold::default() })), "m").gate.unwrap();
    assert_eq!((gate.verdict.as_str(), gate.waiting, gate.is_followed), ("open", 0, false));
    assert!(gate.needed_tokens > 0 && (gate.wait_s_max - 60.0).abs() < 0.001, "{gate:?}");
}

#[test]
fn a_request_goes_to_the_cheapest_of_its_places_and_to_others_only_if_those_are_unfit() {
    let at = |world: &World, places: &[usize]| {
        let places: Vec<EndpointId> = places.iter().map(|at| EndpointId(World::id(*at))).collect();
        let query = world.query().unwrap().at(&places);
        let options = Options { alternates: 3, nonce: 1, now: Timestamp::ZERO, weights: Weights::default() };
        let decision = choose(&query, &options).unwrap();
        let ranked: Vec<u64> = decision.ranked().map(|candidate| candidate.id.0).collect();
        (ranked, decision.reason)
    };
    let world = || World::new(4).holds(0, CELLS).queues(1, 3);
    let id = World::id;
    let (ranked, reason) = at(&world(), &[1, 2]);
    assert_eq!((&ranked[..3], reason), (&[id(2), id(1), id(0)][..], Reason::Cold), "then the holder");
    assert_eq!(at(&world(), &[1]).0[0], id(1), "however busy it is");
    assert_eq!(at(&world().failed(2), &[2]).0[0], id(0));
    assert_eq!(at(&world().is(2, Health::Unhealthy), &[2]).0[0], id(0));
    let large = World::new(SCAN_ENDPOINTS_MAX * 4).holds(0, CELLS);
    for place in 1..SCAN_ENDPOINTS_MAX * 4 {
        assert_eq!(at(&large, &[place]).0[0], id(place), "also where it is in no sample");
    }
}
