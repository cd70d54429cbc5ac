//! The whole engine under generated loads that use everything at once: tiers, both legs, adapters, a start-up,
//! requests taken back. Nothing may get stuck, be lost, be reported twice or keep blocks.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: what is not there fails the test; the seed is printed"
)]

mod common;

use common::request_for;
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed, TestRunner},
};
use std::collections::BTreeMap;
use warmpath_engine::{
    Engine, Params, Preset,
    model::{Event, EventKind, Leg, LoadTime, Request, RequestId, Tier, TierParams},
};

const SEED: u64 = 0x5eed;
const CASES: u32 = 256;
const KV_TOKENS: usize = 1_024;
const HELD_S_MAX: f64 = 0.3;

/// One request of a generated load and what the driver does about it.
#[derive(Clone, Debug)]
struct Order {
    gap_ms: u8,
    text: u64,
    prompt_tokens: usize,
    output_tokens: usize,
    adapter: u32,
    leg: Leg,
    /// Taken back when so many later ones have come.
    abort_after: Option<usize>,
    /// A held prefill is fetched when its end is reported; if not, its lease ends.
    fetched: bool,
}

fn leg() -> impl Strategy<Value = Leg> {
    prop_oneof![
        4 => Just(Leg::Whole),
        1 => Just(Leg::Prefill),
        1 => (0_usize..600).prop_map(|remote_tokens| Leg::Decode { remote_tokens }),
    ]
}

fn order() -> impl Strategy<Value = Order> {
    let sizes = (1_usize..600, 1_usize..200);
    let abort_after = prop::option::weighted(0.15, 0_usize..4);
    (any::<u8>(), 0_u64..6, sizes, 0_u32..4, leg(), abort_after, any::<bool>()).prop_map(
        |(gap_ms, text, (prompt_tokens, output_tokens), adapter, leg, abort_after, fetched)| Order {
            gap_ms: gap_ms / 4,
            text,
            prompt_tokens,
            output_tokens,
            adapter,
            leg,
            abort_after,
            fetched,
        },
    )
}

fn params() -> impl Strategy<Value = Params> {
    let tiers = prop::collection::vec((0_usize..3_000, 1_u32..200), 0..=Tier::ALL.len());
    let limits = (1_usize..3, 2_usize..12, prop_oneof![Just(64_usize), Just(512), Just(8_192)]);
    (tiers, limits, any::<bool>()).prop_map(
        |(tiers, (adapters_max, running_max, batched_tokens_max), starts)| {
            let tier = |(tier, (tokens, gb_s)): (&Tier, (usize, u32))| TierParams {
                tier: *tier,
                tokens,
                load: LoadTime { fixed_s: 1e-4, bytes_per_s: f64::from(gb_s) * 1e9 },
            };
            Params {
                kv_tokens: KV_TOKENS,
                tiers: Tier::ALL.iter().zip(tiers).map(tier).collect(),
                held_s_max: HELD_S_MAX,
                adapters_max,
                running_max,
                batched_tokens_max,
                startup_s: if starts { 0.5 } else { 0.0 },
                ..Params::new(Preset::Qwen3On2)
            }
        },
    )
}

/// What a request may do next, by what it did last.
fn may_follow(last: Option<EventKind>, next: EventKind) -> bool {
    use EventKind::{
        Admitted, Finished, FirstToken, HoldExpired, Loaded, Loading, Preempted, Token, Transferring,
    };
    match next {
        Admitted { .. } => matches!(last, None | Some(Preempted)),
        Loading { .. } => matches!(last, Some(Admitted { .. } | Loading { .. })),
        Transferring { .. } => matches!(last, Some(Admitted { .. })),
        Loaded => matches!(last, Some(Loading { .. } | Transferring { .. })),
        FirstToken | Token | Preempted => matches!(last, Some(Admitted { .. } | Loaded | FirstToken | Token)),
        Finished(_) => matches!(last, Some(FirstToken | Token)),
        HoldExpired => matches!(last, Some(Finished(_))),
    }
}

/// An engine and its events so far.
struct Driven<'a> {
    engine: Engine,
    orders: &'a [Order],
    events: Vec<Event>,
}

// === impl Driven ===

impl Driven<'_> {
    /// Looks at the engine and fetches what it has prefilled.
    fn look(&mut self, now_s: f64) {
        let from = self.events.len();
        self.events.extend(self.engine.advance(now_s));
        for event in &self.events[from..] {
            let order = &self.orders[usize::try_from(event.id.0).unwrap()];
            if matches!(event.kind, EventKind::Finished(_)) && order.leg == Leg::Prefill && order.fetched {
                assert!(self.engine.release_held(now_s, event.id), "it was held from this moment on");
            }
        }
    }

    /// Looks at every moment at which something happens, and `every_s` beside that.
    fn look_until(&mut self, mut now_s: f64, until_s: f64, every_s: f64) {
        while let Some(at_s) = self.engine.next_step_at().filter(|at_s| *at_s < until_s) {
            now_s = at_s.min(now_s + every_s);
            self.look(now_s);
        }
    }
}

/// Drives a load to its end.
fn run(params: &Params, orders: &[Order], every_s: f64) -> (Vec<Event>, Engine) {
    let mut driven = Driven { engine: Engine::starting_at(0.0, params.clone()), orders, events: Vec::new() };
    let mut aborts: BTreeMap<usize, Vec<RequestId>> = BTreeMap::new();
    let mut now_s = 0.0;
    for (at, order) in orders.iter().enumerate() {
        let until_s = now_s + f64::from(order.gap_ms) / 1_000.0;
        driven.look_until(now_s, until_s, every_s);
        now_s = until_s;
        let id = u64::try_from(at).unwrap();
        let asked = request_for(id, order.text, order.prompt_tokens, order.output_tokens);
        driven.engine.submit(now_s, Request { adapter: order.adapter, leg: order.leg, ..asked }).unwrap();
        if let Some(after) = order.abort_after {
            aborts.entry(at + after).or_default().push(RequestId(id));
        }
        for id in aborts.remove(&at).unwrap_or_default() {
            driven.engine.abort(now_s, id);
        }
    }
    driven.look_until(now_s, f64::INFINITY, every_s);
    (driven.events, driven.engine)
}

fn check(params: &Params, orders: &[Order]) -> Result<u64, TestCaseError> {
    let (events, engine) = run(params, orders, f64::INFINITY);
    prop_assert!(events.is_sorted_by(|one, two| one.at_s <= two.at_s), "events are out of order");
    let mut last = BTreeMap::new();
    let mut tokens: BTreeMap<RequestId, usize> = BTreeMap::new();
    for Event { id, kind, .. } in &events {
        let before = last.insert(*id, *kind);
        prop_assert!(may_follow(before, *kind), "{:?}: {:?} after {:?}", id, kind, before);
        if matches!(kind, EventKind::FirstToken | EventKind::Token) {
            *tokens.entry(*id).or_default() += 1;
        }
    }
    let stats = engine.stats();
    let all = u64::try_from(orders.len()).unwrap();
    prop_assert_eq!(stats.finished + stats.aborted, all, "some are stuck: {:?}", stats);
    prop_assert_eq!(stats.running + stats.waiting + stats.loading + stats.held, 0);
    prop_assert_eq!((stats.blocks_in_use, stats.waiting_tokens), (0, 0));
    for (id, kind) in last {
        if matches!(kind, EventKind::Finished(_)) {
            prop_assert_eq!(tokens[&id], orders[usize::try_from(id.0).unwrap()].output_tokens);
        }
    }
    Ok(stats.loads.min(1) + stats.transfers.min(1) + stats.preemptions.min(1) + stats.holds_expired.min(1))
}

#[test]
fn nothing_gets_stuck_or_lost() {
    println!("seed {SEED:#x}, {CASES} cases");
    let config = Config {
        cases: CASES,
        rng_seed: RngSeed::Fixed(SEED),
        failure_persistence: None,
        ..Config::default()
    };
    let met = std::cell::Cell::new(0);
    let input = (params(), prop::collection::vec(order(), 1..40));
    TestRunner::new(config)
        .run(&input, |(params, orders)| {
            met.set(met.get() + check(&params, &orders)?);
            Ok(())
        })
        .unwrap();
    println!("loads, transfers, preemptions and expired holds were met {} times", met.get());
    assert!(met.get() > u64::from(CASES), "the loads must exercise what they are for");
}

#[test]
fn how_often_the_driver_looks_changes_nothing() {
    let config =
        Config { cases: 32, rng_seed: RngSeed::Fixed(SEED), failure_persistence: None, ..Config::default() };
    let input = (params(), prop::collection::vec(order(), 1..40));
    TestRunner::new(config)
        .run(&input, |(params, orders)| {
            let seldom = run(&params, &orders, f64::INFINITY).0;
            prop_assert_eq!(seldom, run(&params, &orders, 0.001).0);
            Ok(())
        })
        .unwrap();
}
