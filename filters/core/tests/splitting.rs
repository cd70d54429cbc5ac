//! When a request is worth two endpoints, whatever the constants: orderings, not seconds.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use warmpath_core::cost::Weights;
use warmpath_core::ids::{CellHash, EndpointId, TenantId};
use warmpath_core::prompt::Size;
use warmpath_core::routing::{Explanation, Options, Query, Split, Unsplit, choose, split};
use warmpath_core::time::Timestamp;
use warmpath_core::view::View;
use warmpath_core::wire::{
    EngineStatus, Health, Kind, Outcome, OutcomeClass, Pool, PoolEndpoint, Pools, Role, Routed, Transfer,
    TransferProtocol, TransferSeen,
};

/// Cells of a prompt of some 8,000 tokens.
const CELLS: u64 = 128;

const P: [&str; 2] = ["10.1.0.1:80", "10.1.0.2:80"];
const D: [&str; 2] = ["10.2.0.1:80", "10.2.0.2:80"];

struct World(View);

// === impl World ===

impl World {
    /// Two endpoints for each leg. Those that decode are busy, so that a prefill there holds others up.
    fn new() -> Self {
        let listed = |address: &&str, role: Role| {
            let mut endpoint = PoolEndpoint { address: (*address).to_owned(), ..PoolEndpoint::default() };
            endpoint.set_role(role);
            endpoint
        };
        let prefill = P.iter().map(|address| listed(address, Role::Prefill));
        let decode = D.iter().map(|address| listed(address, Role::Decode));
        let pool = Pool {
            name: "p".into(),
            models: vec!["m".into()],
            endpoints: prefill.chain(decode).collect(),
            transfer: Some(Transfer::default()),
            ..Pool::default()
        };
        let mut view = View::default();
        view.apply(&Kind::Pools(Pools { pools: vec![pool] }).into(), Timestamp::ZERO);
        Self(view).runs(D[0], 20).runs(D[1], 20)
    }

    fn apply(mut self, kind: Kind) -> Self {
        self.0.apply(&kind.into(), Timestamp::ZERO);
        self
    }

    fn status(self, address: &str, status: EngineStatus) -> Self {
        self.apply(Kind::EngineStatus(EngineStatus { endpoint: EndpointId::of(address).0, ..status }))
    }

    fn runs(self, address: &str, running: u32) -> Self {
        self.status(address, EngineStatus { running, ..EngineStatus::default() })
    }

    /// SGLang's: no endpoint takes whole requests.
    fn without_whole(mut self) -> Self {
        let pools = self.0.export(Timestamp::ZERO).into_iter().find_map(|event| match event.kind {
            Some(Kind::Pools(pools)) => Some(pools.pools),
            _ => None,
        });
        let mut pools = pools.unwrap();
        for pool in &mut pools {
            pool.transfer =
                Some(Transfer { protocol: TransferProtocol::Bootstrap.into(), ..Transfer::default() });
        }
        self.0.apply(&Kind::Pools(Pools { pools }).into(), Timestamp::ZERO);
        self
    }

    fn failed(self, address: &str) -> Self {
        let class = OutcomeClass::Unreachable.into();
        let endpoint = EndpointId::of(address).0;
        self.apply(Kind::Outcome(Outcome { endpoint, class, ..Outcome::default() }))
    }

    fn down(self, address: &str) -> Self {
        self.status(address, EngineStatus { health: Health::Unhealthy.into(), ..EngineStatus::default() })
    }

    fn holds(self, address: &str, cells: u64) -> Self {
        let endpoint = EndpointId::of(address).0;
        self.apply(Kind::Routed(Routed { endpoint, cells: (1..=cells).collect(), ..Routed::default() }))
    }

    fn takes_ms(mut self, (from, to): (&str, &str), ms: u64) -> Self {
        let (prefill, decode) = (EndpointId::of(from).0, EndpointId::of(to).0);
        for _ in 0..30 {
            let seen = TransferSeen { prefill, decode, tokens: 8_192, us: ms * 1_000 };
            self = self.apply(Kind::TransferSeen(seen));
        }
        self
    }

    fn decide(&self, cells: u64) -> Result<Split, Unsplit> {
        let (query, options) = self.query(cells);
        split(&query, &options, choose(&query, &options).ok().as_ref())
    }

    fn query(&self, cells: u64) -> (Query<'_>, Options) {
        let (chain, now) = ((1..=cells).map(CellHash).collect(), Timestamp::ZERO);
        let size = Size { text_bytes: cells * 256, ..Size::default() };
        let options = Options { alternates: 3, nonce: 7, now, weights: Weights::default() };
        (Query::of_chain(&self.0, "m", chain, size, None, now).unwrap(), options)
    }
}

fn legs(split: &Split) -> (&str, &str) {
    (&split.prefill.chosen.address, &split.decode.chosen.address)
}

#[test]
fn a_long_prompt_is_split_where_it_would_hold_others_up_and_not_where_it_would_not() {
    assert!(World::new().decide(CELLS).is_ok());
    let idle = World::new().runs(D[1], 0);
    assert_eq!(idle.decide(CELLS).unwrap_err(), Unsplit::WholeIsCheaper);
}

#[test]
fn a_prompt_that_is_short_or_nearly_all_cached_stays_whole() {
    let few = World::new().runs(D[0], 3).runs(D[1], 3);
    assert!(few.decide(CELLS).is_ok());
    assert_eq!(few.decide(1).unwrap_err(), Unsplit::WholeIsCheaper);
    let warm = World::new().holds(D[0], CELLS);
    assert_eq!(warm.decide(CELLS).unwrap_err(), Unsplit::WholeIsCheaper);
}

#[test]
fn the_endpoint_that_holds_the_prompt_computes_the_rest_of_it() {
    let world = World::new().holds(P[1], CELLS / 2);
    assert_eq!(legs(&world.decide(CELLS).unwrap()).0, P[1]);
}

#[test]
fn what_the_decode_endpoint_holds_is_not_transferred() {
    let all = World::new().decide(CELLS).unwrap().transfer_tokens;
    let rest = World::new().holds(D[1], CELLS / 4).decide(CELLS).unwrap();
    assert_eq!((legs(&rest).1, rest.transfer_tokens), (D[1], all - all / 4));
}

#[test]
fn a_transfer_that_takes_longer_than_the_prompt_is_not_made() {
    let slow = P.iter().flat_map(|from| D.map(|to| (*from, to)));
    let world = slow.fold(World::new(), |world, pair| world.takes_ms(pair, 60_000));
    assert_eq!(world.decide(CELLS).unwrap_err(), Unsplit::WholeIsCheaper);
}

#[test]
fn the_nearer_of_two_pairs_is_taken() {
    let far = |from, to| ((from, to), 400);
    let pairs = [far(P[0], D[0]), far(P[0], D[1]), far(P[1], D[0]), ((P[1], D[1]), 30)];
    let world = pairs.into_iter().fold(World::new(), |world, (pair, ms)| world.takes_ms(pair, ms));
    assert_eq!(legs(&world.decide(CELLS).unwrap()), (P[1], D[1]));
}

#[test]
fn an_endpoint_that_cannot_be_reached_is_not_part_of_a_pair() {
    let one = World::new().down(P[0]);
    assert_eq!(legs(&one.decide(CELLS).unwrap()).0, P[1]);
    assert_eq!(one.down(P[1]).decide(CELLS).unwrap_err(), Unsplit::NoPrefill);
}

/// Where a request must be split, an endpoint that failed a moment ago is better than none, and worse than any other.
#[test]
fn an_endpoint_that_has_failed_is_avoided_where_every_request_is_split() {
    let world = World::new().without_whole().failed(P[0]).failed(D[1]);
    // Those that have failed would be the cheaper ones.
    let world = world.runs(P[1], 5).runs(D[0], 40);
    for cells in [1, CELLS] {
        assert_eq!(legs(&world.decide(cells).unwrap()), (P[1], D[0]));
    }
    let world = world.failed(P[1]).failed(D[0]);
    assert!(world.decide(CELLS).is_ok());
}

#[test]
fn an_explanation_shows_both_ways_and_what_each_costs() {
    let world = World::new();
    let (query, options) = world.query(CELLS);
    let shown = Explanation::of(&query, TenantId::default(), &options).unwrap();
    let split = shown.split.clone().unwrap();
    assert!(split.is_cheaper && split.cost_s < shown.candidates.first().unwrap().cost_s);
    assert_eq!((split.prefill.len(), split.decode.len()), (2, 2));
    let json = serde_json::to_string(&shown).unwrap();
    let read: Explanation = serde_json::from_str(&json).unwrap();
    assert_eq!(read.split.map(|split| split.decode.len()), Some(2));
}
