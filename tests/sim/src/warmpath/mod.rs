//! Our rule: the routers that ship in their processes, and the controller's own hub between those.
//!
//! ```text
//!              ┌─ process ────────────────────┐   network: delay,   ┌─ controller ─┐
//!  request ──► │ Router ─┐                    │   broken streams    │              │ ◄── scrape
//!  (by turn)   │ Router ─┴─ LocalMap, uplink ─┼─────────────────────┼─ Hub         │ ◄── engines that join
//!              └──────────────────────────────┘                     └──────────────┘
//! ```
//!
//! Nothing that decides is written here: what a proxy-wasm shell does (`filters/router`) is done to the same
//! inputs and outputs. See `README.md` for what is played and what is not.

mod adapters;
mod agenda;
mod clock;
mod controller;
mod deployment;
mod flight;
mod held;
mod network;
mod process;
mod reports;
mod world;

use crate::fleet::Fleet;
use crate::mixture::IMAGE_TOKENS;
use crate::rules::{Change, Route, Rule};
use crate::run::Spec;
use crate::workload::Job;
use clock::{second, wall_clock};
pub use deployment::{Deployment, NetworkSpec, ProxiesSpec, ReportsSpec};
use flight::{Flight, TEXT_PIECE};
use fnv::FnvHashMap;
use held::Fate;
use process::{PLUGIN, VmAt};
use reports::Reports;
use std::ops::Range;
use warmpath_core::config::{Config, ControllerConfig, Explain, HoldLimits};
use warmpath_core::ids::EndpointId;
use warmpath_core::limits::CELL_BYTES_DEFAULT;
use warmpath_core::num::count;
use warmpath_core::prompt::Size;
use warmpath_core::router::{Call, Called, DESTINATION_HEADER, ExchangeId, Input, Output};
use warmpath_core::wire::{self, EngineStatus, Health, Hold, Pool, PoolEndpoint, Pools, Role};
use warmpath_engine::model::{Params, Stats, TOKEN_BYTES};
use world::World;

const POOL: &str = "sim";
const MS_PER_S: u32 = 1_000;
/// An engine refuses what it can never do.
const BAD_REQUEST: u16 = 400;
/// What an engine that fails responds.
const FAILED: u16 = 500;

/// All proxies.
#[derive(Debug)]
pub struct Proxies {
    world: World,
    flights: FnvHashMap<u64, Flight>,
    addresses: Vec<String>,
    /// Tokens of a block, and adapters in a batch, of each engine.
    sizes: Vec<(usize, usize)>,
    /// Tokens of each engine's tiers below its GPU.
    below_gpu_tokens: Vec<usize>,
    shape: Shape,
    deployment: Deployment,
    next: usize,
}

/// What there is to the pool beside its endpoints.
#[derive(Clone, Debug)]
struct Shape {
    /// Those that only decode.
    decoding: Range<usize>,
    has_transfer: bool,
    /// How long requests may wait for room, in seconds; 0: none does.
    room_s: u32,
}

// === impl Shape ===

impl Shape {
    /// Whether an engine is listed while the first `open` may be chosen.
    fn lists(&self, open: usize, engine: usize) -> bool {
        engine < open || self.decoding.contains(&engine)
    }
}

// === impl Proxies ===

impl Proxies {
    /// Proxies that have started beside a controller whose file names the engines that are there.
    pub fn new(spec: ProxiesSpec, run: &Spec) -> Self {
        let engines = &run.engines;
        let shape = Shape { decoding: run.decoding(), has_transfer: run.has_transfer, room_s: spec.room_s };
        let addresses: Vec<String> = (0..engines.len()).map(address).collect();
        let config = Config {
            // As a fallback: a controller names them too, and those that join.
            pools: pools(&addresses, run.first(), &shape),
            controller: Some(ControllerConfig { cluster: "warmpath_controller".to_owned(), token: None }),
            cell_bytes: CELL_BYTES_DEFAULT,
            alternates: 0,
            omitted_prefixes: Vec::new(),
            affinity_headers: Vec::new(),
            model_header: None,
            tenant_header: None,
            objective_header: None,
            hold: HoldLimits::default(),
            explain: Explain::Nobody,
        };
        let reports = spec.reports.map(|reports| Reports::new(&addresses, reports, spec.seed));
        let mut world = World::new(spec, config, reports);
        world.list_reporting(|at| shape.lists(run.first(), at));
        Self {
            world,
            flights: FnvHashMap::default(),
            sizes: engines.iter().map(|params| (params.block_tokens, params.adapters_max)).collect(),
            below_gpu_tokens: engines.iter().map(below_gpu_tokens).collect(),
            addresses,
            shape,
            deployment: spec.deployment,
            next: 0,
        }
    }

    /// The VM of the next request: processes take turns, and in each its workers.
    fn next_vm(&mut self) -> VmAt {
        let Deployment { proxies, workers, .. } = self.deployment;
        let number = self.next;
        self.next += 1;
        VmAt { process: number % proxies, worker: number / proxies % workers }
    }

    /// Moves on to a second of the run.
    fn advance(&mut self, now_s: f64) {
        self.world.advance(wall_clock(now_s));
    }

    /// Gives an input about a request to its VM, and notes what that wants to see of the response. Returns what else it
    /// wants done.
    fn handle(&mut self, id: u64, input: Input<'_>) -> Vec<Output> {
        let Some(flight) = self.flights.get_mut(&id) else { return Vec::new() };
        let outputs = self.world.handle(flight.vm, input);
        flight.note(&outputs);
        outputs
    }

    /// What became of a request by what its router wants done.
    fn routed(&mut self, id: u64, outputs: &[Output]) -> Route {
        let call = outputs.iter().find_map(|output| match output {
            Output::Call(call) => Some(call),
            _ => None,
        });
        let fate = call.and_then(called).map_or_else(|| held::fate(outputs), Fate::Sent);
        let engine = match fate {
            Fate::Sent(address) => self.place(address),
            Fate::Held => return Route::Held,
            Fate::Refused(retry_s) => {
                self.leaves(id);
                return Route::Refused { retry_s };
            }
        };
        let Some(flight) = self.flights.get_mut(&id) else { return Route::Whole(engine) };
        flight.note(outputs);
        (flight.engine, flight.call) = (engine, call.map(|call| call.id));
        if call.is_some() { Route::Apart(engine) } else { Route::Whole(engine) }
    }

    /// The stream of a request is gone.
    fn leaves(&mut self, id: u64) {
        if let Some(Flight { exchange, .. }) = self.flights.get(&id).copied() {
            self.handle(id, Input::Ended { exchange });
            self.flights.remove(&id);
        }
    }

    /// The place of the engine with an address.
    fn place(&self, address: &str) -> usize {
        let engine = self.addresses.iter().position(|known| known == address);
        engine.expect("only known addresses are chosen")
    }

    /// The headers of a response.
    fn responds(&mut self, id: u64, status: u16) {
        let Some(flight) = self.flights.get(&id).copied() else { return };
        let address = self.addresses[flight.engine].clone();
        let served_by = Some(address.as_str());
        let head = Input::ResponseHead {
            exchange: flight.exchange,
            status: Some(status),
            headers: &[],
            served_by,
            ends: false,
        };
        self.handle(id, head);
    }

    /// The end of a response.
    fn ends(&mut self, id: u64) {
        let Some(Flight { exchange, .. }) = self.flights.get(&id).copied() else { return };
        self.handle(id, Input::ResponseChunk { exchange, bytes: 0, tail: &[], ends: true });
        self.leaves(id);
    }
}

impl Rule for Proxies {
    fn route(&mut self, now_s: f64, id: u64, job: &Job, _fleet: &Fleet) -> Route {
        self.advance(now_s);
        if let Some(reports) = &mut self.world.reports {
            reports.note(job);
        }
        let vm = self.next_vm();
        let exchange = ExchangeId(u32::try_from(id).expect("requests are numbered from 0"));
        self.flights.insert(id, Flight::new(vm, exchange, job));
        let prompt = held::prompt(job);
        let outputs = self.world.handle(vm, Input::RequestPrompt { exchange, plugin: PLUGIN, prompt });
        let route = self.routed(id, &outputs);
        if route == Route::Held {
            self.world.held.insert(exchange.0, job.clone());
        }
        route
    }

    fn released(&mut self, _now_s: f64, _fleet: &Fleet) -> Option<(u64, Route)> {
        let (exchange, outputs) = self.world.freed.pop_front()?;
        let id = u64::from(exchange.0);
        Some((id, self.routed(id, &outputs)))
    }

    fn decoder(&mut self, now_s: f64, id: u64, _job: &Job, _fleet: &Fleet) -> Option<usize> {
        self.advance(now_s);
        let Flight { exchange, call, .. } = *self.flights.get(&id)?;
        // What it says of the blocks concerns the engines alone.
        let response = Some(Called { status: 200, body: b"" });
        let outputs = self.handle(id, Input::Called { exchange, call: call?, response });
        // A VM that was rebuilt knows nothing of it.
        let Some(address) = destination(&outputs) else {
            self.flights.remove(&id);
            return None;
        };
        let engine = self.place(address);
        self.flights.get_mut(&id)?.engine = engine;
        Some(engine)
    }

    fn refused(&mut self, now_s: f64, id: u64) {
        self.advance(now_s);
        self.responds(id, BAD_REQUEST);
        self.ends(id);
    }

    fn failed(&mut self, now_s: f64, id: u64) {
        self.advance(now_s);
        self.responds(id, FAILED);
        self.ends(id);
    }

    fn first_token(&mut self, now_s: f64, id: u64, cached_tokens: usize) {
        self.advance(now_s);
        let Some(flight) = self.flights.get_mut(&id) else { return };
        flight.found(cached_tokens);
        if flight.form.is_whole {
            return;
        }
        self.responds(id, 200);
        let Some(flight) = self.flights.get(&id) else { return };
        let (exchange, tail) = (flight.exchange, flight.first_tail());
        self.handle(id, Input::ResponseChunk { exchange, bytes: TEXT_PIECE.len(), tail, ends: false });
    }

    fn ended(&mut self, now_s: f64, id: u64) {
        self.advance(now_s);
        if self.flights.get(&id).is_some_and(|flight| flight.form.is_whole) {
            self.responds(id, 200);
        }
        let Some(flight) = self.flights.get(&id) else { return };
        if let (exchange, Some(tail)) = (flight.exchange, flight.last_piece()) {
            self.handle(id, Input::ResponseChunk { exchange, bytes: tail.len(), tail: &tail, ends: false });
        }
        self.ends(id);
    }

    fn scraped(&mut self, now_s: f64, engine: usize, stats: &Stats) {
        self.advance(now_s);
        let status = EngineStatus {
            kv_below_gpu_tokens: self.below_gpu_tokens[engine] as u64,
            ..status(&self.addresses[engine], stats, self.sizes[engine])
        };
        let now = self.world.now;
        self.world.controller.scraped(status, now);
        self.world.pump();
        self.world.advance(now);
    }

    fn joined(&mut self, now_s: f64, engines: usize) {
        self.advance(now_s);
        let now = self.world.now;
        let pools = pools(&self.addresses, engines, &self.shape);
        self.world.controller.set_pools(pools, now);
        let shape = self.shape.clone();
        self.world.list_reporting(|at| shape.lists(engines, at));
        self.world.pump();
        self.world.advance(now);
    }

    fn follows_caches(&self) -> bool {
        self.world.reports.is_some()
    }

    fn changed(&mut self, now_s: f64, engine: usize, changes: Vec<Change>) {
        self.advance(now_s);
        self.world.report(engine, changes);
    }

    fn wake_s(&self) -> Option<f64> {
        self.world.next_at().map(second)
    }

    fn wake(&mut self, now_s: f64) {
        self.advance(now_s);
    }
}

/// Where a request goes on to.
fn destination(outputs: &[Output]) -> Option<&str> {
    outputs.iter().find_map(|output| match output {
        Output::SetRequestHeader(DESTINATION_HEADER, address) => Some(address.as_str()),
        _ => None,
    })
}

/// Where a call goes.
fn called(call: &Call) -> Option<&str> {
    let (_, address) = call.headers.iter().find(|(name, _)| name == DESTINATION_HEADER)?;
    std::str::from_utf8(address).ok()
}

/// One pool of the first `open` endpoints and those that only decode.
fn pools(addresses: &[String], open: usize, shape: &Shape) -> Pools {
    let decoding = &shape.decoding;
    let role = |at: usize| match (decoding.is_empty(), decoding.contains(&at)) {
        (true, _) => Role::Both,
        (false, true) => Role::Decode,
        (false, false) => Role::Prefill,
    };
    let listed = addresses.iter().enumerate().filter(|(at, _)| shape.lists(open, *at));
    let endpoints = listed
        .map(|(at, address)| PoolEndpoint {
            address: address.clone(),
            role: role(at).into(),
            ..PoolEndpoint::default()
        })
        .collect();
    let pool = Pool {
        name: POOL.into(),
        models: vec![POOL.into()],
        adapters: adapters::names(),
        endpoints,
        transfer: shape.has_transfer.then(wire::Transfer::default),
        hold: (shape.room_s > 0).then(|| Hold { room_ms_max: shape.room_s * MS_PER_S, ..Hold::default() }),
        ..Pool::default()
    };
    Pools { pools: vec![pool] }
}

/// What the filter measures of a prompt: its text, and how many images.
fn size(job: &Job) -> Size {
    let images = job.form.images;
    let text_tokens = job.prompt_tokens - images as usize * IMAGE_TOKENS;
    let mut size = Size { text_bytes: (text_tokens * TOKEN_BYTES) as u64, ..Size::default() };
    size.media.0[0] = images;
    size
}

/// What the controller reads from an engine's metrics page.
fn status(address: &str, stats: &Stats, (block_tokens, adapter_slots): (usize, usize)) -> EngineStatus {
    EngineStatus {
        endpoint: EndpointId::of(address).0,
        health: Health::Healthy.into(),
        running: u32::try_from(stats.running).unwrap_or(u32::MAX),
        waiting: u32::try_from(stats.waiting).unwrap_or(u32::MAX),
        kv_used_permille: u32::try_from(count(stats.kv_usage() * 1000.0)).unwrap_or(u32::MAX),
        capacity_tokens: Some((stats.blocks_total * block_tokens) as u64),
        block_tokens: u32::try_from(block_tokens).ok(),
        adapter_slots: adapter_slots as u32,
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

#[cfg(test)]
mod tests;
