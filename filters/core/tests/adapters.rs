//! What a choice makes of LoRA adapters: whether one is in an endpoint's batch, on its GPU, or has to wait for a place.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]

use warmpath_core::cost::{Term, Weights};
use warmpath_core::ids::{AdapterId, CellHash, EndpointId, OriginId};
use warmpath_core::prompt::Size;
use warmpath_core::routing::{Options, Query, choose};
use warmpath_core::time::Timestamp;
use warmpath_core::view::View;
use warmpath_core::wire::{
    EngineStatus, Event, Gone, Kind, Outcome, OutcomeClass, Pool, PoolEndpoint, Pools, Routed,
};

const ENDPOINTS: usize = 2;
const ORIGIN: u64 = 5;

struct World {
    view: View,
    requests: u64,
}

fn address(at: usize) -> String {
    format!("10.0.0.{at}:8000")
}

fn id(at: usize) -> u64 {
    EndpointId::of(&address(at)).0
}

// === impl World ===

impl World {
    /// Endpoints whose batches mix so many adapters of `a` to `e`; 0: nobody knows how many.
    fn new(slots: u32) -> Self {
        let endpoints =
            (0..ENDPOINTS).map(|at| PoolEndpoint { address: address(at), ..PoolEndpoint::default() });
        let pool = Pool {
            name: "p".into(),
            models: vec!["m".into()],
            adapters: ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec(),
            endpoints: endpoints.collect(),
            ..Pool::default()
        };
        let mut world = Self { view: View::new(256, 1), requests: 0 };
        world.apply(Kind::Pools(Pools { pools: vec![pool] }), 0);
        for at in 0..ENDPOINTS {
            let status = EngineStatus { endpoint: id(at), adapter_slots: slots, ..EngineStatus::default() };
            world.apply(Kind::EngineStatus(status), 0);
        }
        world
    }

    fn apply(&mut self, kind: Kind, ms: u64) {
        self.view.apply(&Event::from(kind), Timestamp::from_ms(ms));
    }

    /// A request for an adapter is sent to an endpoint; returns its number.
    fn send(&mut self, at: usize, adapter: &str, ms: u64) -> u64 {
        self.requests += 1;
        let adapter = AdapterId::of(adapter).0;
        let (endpoint, request) = (id(at), self.requests);
        let routed =
            Routed { endpoint, cells: vec![request], origin: ORIGIN, request, adapter, ..Routed::default() };
        self.apply(Kind::Routed(routed), ms);
        request
    }

    /// It gets its first token.
    fn serve(&mut self, at: usize, adapter: &str, ms: u64) {
        let request = self.send(at, adapter, ms);
        let class = OutcomeClass::Served.into();
        let outcome = Outcome { endpoint: id(at), origin: ORIGIN, request, class, ..Outcome::default() };
        self.apply(Kind::Outcome(outcome), ms);
    }

    /// What a model's adapter costs at each endpoint, in seconds.
    fn waits(&self, model: &str, ms: u64) -> Vec<f64> {
        let now = Timestamp::from_ms(ms);
        let size = Size { text_bytes: 400, ..Size::default() };
        let query = Query::of_chain(&self.view, model, vec![CellHash(1)], size, None, now).unwrap();
        let options = Options { alternates: usize::MAX, nonce: 1, now, weights: Weights::default() };
        let decision = choose(&query, &options).unwrap();
        let mut all: Vec<_> =
            decision.ranked().map(|one| (one.address.clone(), one.terms[Term::Adapter])).collect();
        all.sort_by(|one, other| one.0.cmp(&other.0));
        all.into_iter().map(|(_, wait_s)| wait_s).collect()
    }
}

#[test]
fn an_adapter_that_is_loaded_costs_nothing_and_the_base_model_never() {
    let mut world = World::new(2);
    let load = world.waits("a", 1)[0];
    assert!(load > 0.0 && load < 0.5, "{load}");
    world.serve(0, "a", 1);
    assert_eq!(world.waits("a", 2), [0.0, load]);
    assert_eq!(world.waits("m", 2), [0.0, 0.0]);
    // An hour later nobody uses it, and it is still there.
    assert_eq!(world.waits("a", 3_600_000), [0.0, load]);
    // Two others have taken its place by then.
    for adapter in ["b", "c"] {
        world.serve(0, adapter, 3_600_000);
    }
    assert!(world.waits("a", 9_000_000)[0] >= load);
}

#[test]
fn an_adapter_without_a_place_waits_until_another_has_ended() {
    let mut world = World::new(2);
    world.serve(0, "a", 1_000);
    world.serve(0, "b", 2_000);
    let [full, free] = world.waits("c", 2_000)[..] else { panic!("there are two") };
    assert!(full > free + 0.5, "{full} {free}");
    let later = world.waits("c", 2_500)[0];
    assert!((full - later - 0.5).abs() < 1e-6, "half a second of it has passed: {full} {later}");
    // Whoever came before takes the first place that is free.
    world.send(0, "d", 2_500);
    let behind = world.waits("c", 2_500)[0];
    assert!((behind - later - 1.0).abs() < 1e-6, "the second is free a second later: {behind} {later}");
    // A proxy that is gone leaves nothing behind.
    world.apply(Kind::Gone(Gone { origin: OriginId(ORIGIN).0 }), 2_500);
    assert!((world.waits("c", 2_500)[0] - later).abs() < 1e-6);
}

#[test]
fn nobody_waits_for_places_of_which_nothing_is_known() {
    let mut world = World::new(0);
    let load = world.waits("a", 0)[0];
    for adapter in ["a", "b", "c"] {
        world.serve(0, adapter, 1_000);
    }
    assert_eq!(world.waits("d", 1_000), [load, load]);
}
