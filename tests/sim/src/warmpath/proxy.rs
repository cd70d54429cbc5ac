//! One proxy: a view, a ledger, and the requests that it has under way.

use super::time;
use crate::workload::{Job, mix};
use warmpath_core::cost::Weights;
use warmpath_core::ids::{OriginId, ProcessId};
use warmpath_core::router::{Booking, Ledger};
use warmpath_core::routing::{Options, Query, choose};
use warmpath_core::time::Timestamp;
use warmpath_core::view::View;
use warmpath_core::wire::{Alive, Kind, Pool, PoolEndpoint, Pools, Proxies, UsageSeen};
use warmpath_engine::model::TOKEN_BYTES;

/// How often a proxy says that its promises still stand, in seconds: as the filter does.
pub(super) const TICK_S: f64 = 1.0;
const POOL: &str = "sim";

/// See the module.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) view: View,
    pub(super) ledger: Ledger,
    nonce: u64,
    weights: Weights,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Flight {
    booking: Booking,
    prompt_tokens: u64,
    cached_tokens: u64,
    output_tokens: u64,
}

// === impl Proxy ===

impl Proxy {
    pub(super) fn new(number: u64, proxies: u64, pools: &Pools, seed: u64, weights: Weights) -> Self {
        let mut view = View::default();
        view.apply(&Kind::Pools(pools.clone()).into(), Timestamp::ZERO);
        view.set_process(process(number));
        view.apply(
            &Kind::Proxies(Proxies { processes: (0..proxies).map(|number| process(number).0).collect() })
                .into(),
            Timestamp::ZERO,
        );
        Self {
            view,
            ledger: Ledger::new(OriginId(number + 1)),
            nonce: mix(seed ^ number.rotate_left(32)),
            weights,
        }
    }

    /// Chooses and books; returns the engine and what the others must hear.
    pub(super) fn route(
        &mut self,
        now_s: f64,
        job: &Job,
        addresses: &[String],
    ) -> (usize, Flight, Vec<Kind>) {
        self.nonce = mix(self.nonce);
        let text_bytes = (job.prompt_tokens * TOKEN_BYTES) as u64;
        let query = Query::of_chain(&self.view, POOL, job.cells.to_vec(), text_bytes, job.output_tokens_max);
        let query = query.expect("the pool was set above");
        let options = Options { alternates: 0, nonce: self.nonce, now: time(now_s), weights: self.weights };
        let chosen = choose(&query, &options).expect("engines never fail here").chosen;
        let Query { chain, prompt_tokens, .. } = query;
        let engine = addresses.iter().position(|address| *address == chosen.address);
        let engine = engine.expect("only known addresses are chosen");
        let (booking, kinds) = Booking::new(&mut self.ledger, &chosen, chain, prompt_tokens, time(now_s));
        self.apply(now_s, &kinds);
        (
            engine,
            Flight {
                booking,
                prompt_tokens: job.prompt_tokens as u64,
                cached_tokens: 0,
                output_tokens: job.output_tokens as u64,
            },
            kinds,
        )
    }

    pub(super) fn first_token(&mut self, now_s: f64, flight: &mut Flight, cached_tokens: usize) -> Vec<Kind> {
        flight.cached_tokens = cached_tokens as u64;
        let kinds = flight.booking.first_byte(&mut self.ledger, true, time(now_s));
        self.apply(now_s, &kinds);
        kinds
    }

    /// The end, where the answer's `usage` tells how much was cached.
    pub(super) fn ended(&mut self, now_s: f64, flight: Flight) -> Vec<Kind> {
        let ratio = UsageSeen {
            pool: POOL.into(),
            prompt_bytes: flight.prompt_tokens * TOKEN_BYTES as u64,
            prompt_tokens: flight.prompt_tokens,
            cached_tokens: Some(flight.cached_tokens),
            output_tokens: Some(flight.output_tokens),
        };
        let kinds = vec![Kind::UsageSeen(ratio), flight.booking.end(&mut self.ledger)];
        self.apply(now_s, &kinds);
        kinds
    }

    /// The round of a second: promises still stand, and are told again in full.
    pub(super) fn tick(&mut self, now_s: f64) -> Vec<Kind> {
        self.view.expire(time(now_s));
        if self.ledger.requests() == 0 {
            return Vec::new();
        }
        let mut kinds = vec![Kind::Alive(Alive { origin: self.ledger.origin().0 })];
        kinds.extend(self.ledger.loads());
        self.apply(now_s, &kinds);
        kinds
    }

    fn apply(&mut self, now_s: f64, kinds: &[Kind]) {
        for kind in kinds {
            self.view.apply(&kind.clone().into(), time(now_s));
        }
    }
}

/// One pool of these endpoints.
pub(super) fn pools(addresses: &[String]) -> Pools {
    let endpoints = addresses.iter().map(|address| PoolEndpoint { address: address.clone() }).collect();
    let pool = Pool { name: POOL.into(), models: vec![POOL.into()], adapters: Vec::new(), endpoints };
    Pools { pools: vec![pool] }
}

/// The name of a proxy's process.
fn process(number: u64) -> ProcessId {
    ProcessId(number + 1)
}
