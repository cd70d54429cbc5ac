//! Our rule: N proxies over the core that ships, each with its own view, joined by a network.
//!
//! ```text
//!  request ─► proxy (by turn) ─► pick::choose on its view ─► booking ─► events
//!                 ▲                                                      │ encoded as on the wire
//!                 └──────── network: delay, loss, reordering ◄───────────┘
//!                 ▲
//!  scrape, join ──┘ engine status and pools, as the controller tells them
//! ```
//!
//! What the router does (`filters/core/src/router`) is done here in the same order;
//! everything that decides is the core's.

mod network;
mod proxy;

use crate::fleet::Fleet;
use crate::rules::Rule;
use crate::run::Spec;
use crate::workload::Job;
use fnv::FnvHashMap;
use warmpath_core::cost::Weights;
use warmpath_core::ids::EndpointId;
use warmpath_core::num::count;
use warmpath_core::time::Timestamp;
use warmpath_core::wire::{EngineStatus, Event, Health, Kind};
use warmpath_engine::model::{Params, Stats};

pub use network::NetworkSpec;
use network::{Message, Network};
use proxy::{Flight, Proxy};

const US_PER_S: f64 = 1e6;

/// How the proxies stand to each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProxiesSpec {
    /// How many there are.
    pub proxies: usize,
    /// What happens to messages between them.
    pub network: NetworkSpec,
    /// Decides ties, delays and losses.
    pub seed: u64,
    /// How much each term of the cost counts.
    pub weights: Weights,
}

/// All proxies.
#[derive(Debug)]
#[allow(clippy::struct_field_names, reason = "there is no better word")]
pub struct Proxies {
    proxies: Vec<Proxy>,
    network: Network,
    flights: FnvHashMap<u64, (usize, Flight)>,
    addresses: Vec<String>,
    block_tokens: Vec<usize>,
    /// Tokens of each engine's tiers below its GPU.
    below_gpu_tokens: Vec<usize>,
    told: Vec<Option<EngineStatus>>,
    next: usize,
    tick_s: f64,
}

// === impl ProxiesSpec ===

impl ProxiesSpec {
    /// One proxy, so that nothing is late.
    pub fn exact(seed: u64) -> Self {
        Self { proxies: 1, network: NetworkSpec::default(), seed, weights: Weights::default() }
    }
}

// === impl Proxies ===

impl Proxies {
    /// Proxies that know the engines that are there, and nothing else.
    pub fn new(spec: ProxiesSpec, run: &Spec) -> Self {
        let engines = &run.engines;
        let addresses: Vec<String> = (0..engines.len()).map(address).collect();
        let pools = proxy::pools(&addresses[..run.first()]);
        let proxy = |number| Proxy::new(number, spec.proxies as u64, &pools, spec.seed, spec.weights);
        Self {
            proxies: (0..spec.proxies as u64).map(proxy).collect(),
            network: Network::new(spec.network, spec.seed),
            flights: FnvHashMap::default(),
            told: vec![None; engines.len()],
            block_tokens: engines.iter().map(|params| params.block_tokens).collect(),
            below_gpu_tokens: engines.iter().map(below_gpu_tokens).collect(),
            addresses,
            next: 0,
            tick_s: proxy::TICK_S,
        }
    }

    /// Sends what one proxy said to all others; `None`: what the controller said, to all.
    fn tell(&mut self, now_s: f64, from: Option<usize>, kinds: Vec<Kind>) {
        let events: Vec<Event> = kinds.into_iter().map(Event::from).collect();
        if events.is_empty() {
            return;
        }
        let bytes = network::encode(&events);
        for to in (0..self.proxies.len()).filter(|to| Some(*to) != from) {
            self.network.send(now_s, to, &bytes);
        }
    }

    /// Sends to all what must come at last, however often it is lost.
    fn insist(&mut self, now_s: f64, kind: Kind) {
        let bytes = network::encode(&[kind.into()]);
        for to in 0..self.proxies.len() {
            self.network.insist(now_s, to, &bytes);
        }
    }

    fn deliver(&mut self, now_s: f64) {
        while let Some(Message { to, bytes }) = self.network.receive(now_s) {
            for event in network::decode(&bytes) {
                self.proxies[to].view.apply(&event, time(now_s));
            }
        }
    }
}

impl Rule for Proxies {
    fn choose(&mut self, now_s: f64, id: u64, job: &Job, _fleet: &Fleet) -> usize {
        self.deliver(now_s);
        let at = self.next % self.proxies.len();
        self.next += 1;
        let (engine, flight, kinds) = self.proxies[at].route(now_s, job, &self.addresses);
        self.flights.insert(id, (at, flight));
        self.tell(now_s, Some(at), kinds);
        engine
    }

    fn refused(&mut self, now_s: f64, id: u64) {
        self.ended(now_s, id);
    }

    fn first_token(&mut self, now_s: f64, id: u64, cached_tokens: usize) {
        let Some((at, flight)) = self.flights.get_mut(&id) else { return };
        let at = *at;
        let kinds = self.proxies[at].first_token(now_s, flight, cached_tokens);
        self.tell(now_s, Some(at), kinds);
    }

    fn ended(&mut self, now_s: f64, id: u64) {
        let Some((at, flight)) = self.flights.remove(&id) else { return };
        let kinds = self.proxies[at].ended(now_s, flight);
        self.tell(now_s, Some(at), kinds);
    }

    fn scraped(&mut self, now_s: f64, engine: usize, stats: &Stats) {
        let status = EngineStatus {
            kv_below_gpu_tokens: self.below_gpu_tokens[engine] as u64,
            ..status_of(&self.addresses[engine], stats, self.block_tokens[engine])
        };
        if self.told[engine] != Some(status) {
            self.told[engine] = Some(status);
            self.tell(now_s, None, vec![Kind::EngineStatus(status)]);
            self.deliver(now_s);
        }
    }

    fn joined(&mut self, now_s: f64, engines: usize) {
        let pools = proxy::pools(&self.addresses[..engines]);
        self.insist(now_s, Kind::Pools(pools));
        self.deliver(now_s);
    }

    fn wake_s(&self) -> Option<f64> {
        Some(self.tick_s)
    }

    fn wake(&mut self, now_s: f64) {
        self.deliver(now_s);
        for at in 0..self.proxies.len() {
            let kinds = self.proxies[at].tick(now_s);
            self.tell(now_s, Some(at), kinds);
        }
        self.tick_s = now_s + proxy::TICK_S;
    }
}

/// What the controller reads from an engine's metrics page.
fn status_of(address: &str, stats: &Stats, block_tokens: usize) -> EngineStatus {
    EngineStatus {
        endpoint: EndpointId::of(address).0,
        health: Health::Healthy.into(),
        running: u32::try_from(stats.running).unwrap_or(u32::MAX),
        waiting: u32::try_from(stats.waiting).unwrap_or(u32::MAX),
        kv_used_permille: u32::try_from(count(stats.kv_usage() * 1000.0)).unwrap_or(u32::MAX),
        capacity_tokens: Some((stats.blocks_total * block_tokens) as u64),
        block_tokens: u32::try_from(block_tokens).ok(),
        ..EngineStatus::default()
    }
}

/// What the controller is configured with: `kv_below_gpu_tokens` of the engine's pool.
fn below_gpu_tokens(params: &Params) -> usize {
    params.tiers.iter().map(|tier| tier.tokens).sum()
}

fn address(engine: usize) -> String {
    format!("10.0.{}.{}:8000", engine / 250, engine % 250 + 1)
}

fn time(now_s: f64) -> Timestamp {
    Timestamp::from_us(count(now_s * US_PER_S))
}

#[cfg(test)]
mod tests;
