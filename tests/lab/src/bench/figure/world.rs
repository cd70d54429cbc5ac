//! Made-up fleets and prompts for what is measured without engines: endpoints, conversations, and who was sent what.
//!
//! Conversations come in groups that share a system prompt, as in the published workloads of routers: the shared part
//! is held by many endpoints, the rest by one. Cell hashes are random numbers, as real ones look.

use warmpath_core::ids::{CellHash, EndpointId};
use warmpath_core::wire::{
    EngineStatus, Event, Health, InFlightReport, Kind, Pool, PoolEndpoint, Pools, Routed,
};

/// The pool of all endpoints.
pub(super) const POOL: &str = "bench";

/// KV capacity of an endpoint in tokens: more than it is sent, so that the bound of the view is the only one.
const CAPACITY_TOKENS: u64 = 1 << 32;

/// Requests that an endpoint has at most when a decision is made.
const REQUESTS_MAX: u64 = 20;

/// Prompt tokens of each of them.
const REQUEST_TOKENS: u64 = 4_000;

/// Random numbers of one seed (SplitMix64: Steele, Lea, Flood 2014).
#[derive(Clone, Copy, Debug)]
pub(super) struct Chance(pub(super) u64);

// === impl Chance ===

impl Chance {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// A chain that nobody has.
    pub(super) fn chain(&mut self, cells: usize) -> Vec<CellHash> {
        (0..cells).map(|_| CellHash(self.next())).collect()
    }
}

/// The address of an endpoint.
pub(super) fn address(at: usize) -> String {
    format!("10.{}.{}.{}:8000", at >> 16, (at >> 8) & 0xFF, at & 0xFF)
}

/// What a controller tells of a fleet of this size before anything was routed.
pub(super) fn fleet(endpoints: usize, chance: &mut Chance) -> Vec<Event> {
    let addresses: Vec<String> = (0..endpoints).map(address).collect();
    let members = addresses
        .iter()
        .map(|address| PoolEndpoint { address: address.clone(), ..PoolEndpoint::default() })
        .collect();
    let pool = Pool {
        name: POOL.into(),
        models: vec!["*".into()],
        adapters: Vec::new(),
        endpoints: members,
        ..Pool::default()
    };
    let mut events = vec![Kind::Pools(Pools { pools: vec![pool] }).into()];
    for address in addresses {
        let endpoint = EndpointId::of(&address).0;
        let health = Health::Healthy.into();
        let facts = EngineStatus {
            endpoint,
            health,
            capacity_tokens: Some(CAPACITY_TOKENS),
            ..EngineStatus::default()
        };
        let requests = chance.next() % REQUESTS_MAX;
        let context_tokens = requests * REQUEST_TOKENS;
        let load = InFlightReport {
            origin: 1,
            endpoint,
            requests: requests as u32,
            context_tokens,
            ..InFlightReport::default()
        };
        events.extend([Kind::EngineStatus(facts).into(), Kind::InFlight(load).into()]);
    }
    events
}

/// A chain was sent to an endpoint.
pub(super) fn routed(at: usize, chain: &[CellHash]) -> Event {
    let cells = chain.iter().map(|cell| cell.0).collect();
    Kind::Routed(Routed { endpoint: EndpointId::of(&address(at)).0, cells, ..Routed::default() }).into()
}
