//! What the tests of the router share: shared data that can be contended, a router in a VM, configurations.

use std::cell::Cell;
use std::rc::Rc;
use warmpath_core::config::{Config, ControllerConfig, Explain, HoldLimits};
use warmpath_core::ids::{CellHash, EndpointId, TenantId};
use warmpath_core::prompt::Size;
use warmpath_core::router::{
    Conflict, Counter, DESTINATION_HEADER, ExchangeId, Input, LocalMap, Output, PluginId, Prompt, Router,
    SharedMap, Stored, Version,
};
use warmpath_core::time::Timestamp;
use warmpath_core::wire::{Pool, PoolEndpoint, Pools};

pub(crate) const MODEL: &str = "llama";
pub(crate) const PLUGIN: PluginId = PluginId(1);
const CELL_BYTES: usize = 256;

/// Shared data of one process, in which the next stores may meet another VM's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contended {
    map: LocalMap,
    conflicts: Rc<Cell<u32>>,
}

/// One VM with its router.
#[derive(Debug)]
pub(crate) struct SoloVm {
    pub(crate) router: Router<Contended>,
    /// What the last input led to.
    pub(crate) out: Vec<Output>,
    /// Endpoints that Envoy says that it has tried, where another one than the chosen one responds.
    pub(crate) attempts: Option<u64>,
}

// === impl Contended ===

impl Contended {
    /// Makes the next conditional stores fail, as if another VM had come first each time.
    pub(crate) fn congest(&self, stores: u32) {
        self.conflicts.set(stores);
    }
}

impl SharedMap for Contended {
    fn get(&mut self, key: &str) -> Stored {
        self.map.get(key)
    }

    fn set(&mut self, key: &str, value: &[u8], version: Option<Version>) -> Result<(), Conflict> {
        if version.is_some() && self.conflicts.get() > 0 {
            self.conflicts.set(self.conflicts.get() - 1);
            return Err(Conflict);
        }
        self.map.set(key, value, version)
    }
}

// === impl SoloVm ===

impl SoloVm {
    /// A VM that is built and configured.
    pub(crate) fn new(map: &Contended, config: Config, seed: u64, now: Timestamp) -> Self {
        let mut vm =
            Self { router: Router::new(map.clone(), CELL_BYTES, seed), out: Vec::new(), attempts: Some(2) };
        vm.configure(PLUGIN, config, now);
        vm
    }

    pub(crate) fn configure(&mut self, plugin: PluginId, config: Config, now: Timestamp) {
        self.handle(now, Input::Configure { plugin, config, node: "test".to_owned() });
    }

    /// Gives the router an input; `out` then has what it led to.
    pub(crate) fn handle(&mut self, now: Timestamp, input: Input<'_>) -> &[Output] {
        self.out.clear();
        self.router.handle(&now, input, &mut self.out);
        let counted = self.out.iter().find_map(|output| match output {
            Output::CountAttempts { failed } => Some(*failed),
            _ => None,
        });
        if let Some(failed) = counted {
            let attempts = self.attempts;
            self.router.handle(&now, Input::Attempts { attempts, failed }, &mut self.out);
        }
        &self.out
    }

    /// Sends a request whose prompt is this chain; the endpoints that the proxy may use, best first.
    pub(crate) fn send(&mut self, now: Timestamp, exchange: ExchangeId, chain: &[u64]) -> Vec<String> {
        let chain: Vec<CellHash> = chain.iter().map(|cell| CellHash(*cell)).collect();
        let size = Size { text_bytes: (chain.len() * CELL_BYTES) as u64, ..Size::default() };
        let prompt = Prompt {
            model: MODEL,
            chain,
            size,
            output_tokens_max: None,
            is_stream: true,
            has_usage: false,
            tenant: TenantId::default(),
            priority: 0,
        };
        let out = self.handle(now, Input::RequestPrompt { exchange, plugin: PLUGIN, prompt });
        let named = out.iter().find_map(|output| match output {
            Output::SetRequestHeader(DESTINATION_HEADER, named) => Some(named.split(',').map(str::to_owned)),
            _ => None,
        });
        named.map(Iterator::collect).unwrap_or_default()
    }

    /// How much the last input added to a counter.
    pub(crate) fn counted(&self, wanted: Counter) -> u64 {
        let counts = self.out.iter().map(|output| match output {
            Output::Count(counter, by) if *counter == wanted => *by,
            _ => 0,
        });
        counts.sum()
    }

    /// Requests in flight at an endpoint, as this VM sees them.
    pub(crate) fn in_flight(&self, address: &str) -> (u32, u32) {
        let view = self.router.view();
        let endpoint = view.slot(EndpointId::of(address)).and_then(|slot| view.endpoint(slot));
        endpoint.map_or((0, 0), |endpoint| (endpoint.in_flight().requests, endpoint.in_flight().prefills))
    }
}

pub(crate) fn address(number: usize) -> String {
    format!("10.0.0.{}:8000", number + 1)
}

/// The first endpoints, in one pool.
pub(crate) fn pools_of(numbers: impl IntoIterator<Item = usize>) -> Pools {
    let endpoints = numbers
        .into_iter()
        .map(|number| PoolEndpoint { address: address(number), ..PoolEndpoint::default() })
        .collect();
    let pool = Pool {
        name: MODEL.to_owned(),
        models: vec![MODEL.to_owned()],
        adapters: Vec::new(),
        endpoints,
        ..Pool::default()
    };
    Pools { pools: vec![pool] }
}

/// Pools from the configuration.
pub(crate) fn fixed(endpoints: usize) -> Config {
    Config {
        pools: pools_of(0..endpoints),
        controller: None,
        cell_bytes: CELL_BYTES,
        alternates: 3,
        omitted_prefixes: Vec::new(),
        affinity_headers: Vec::new(),
        model_header: None,
        tenant_header: None,
        objective_header: None,
        hold: HoldLimits::default(),
        explain: Explain::Nobody,
    }
}

/// Pools from a controller.
pub(crate) fn controlled() -> Config {
    Config {
        pools: Pools::default(),
        controller: Some(ControllerConfig { cluster: "controller".to_owned(), token: None }),
        ..fixed(0)
    }
}
