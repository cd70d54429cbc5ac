//! One proxy process: its VMs, their configuration, and time.

use crate::support::{Host, Vm, pools_of};
use std::time::Duration;
use warmpath_core::config::{Config, ControllerConfig, Explain, HoldLimits};
use warmpath_core::limits::CELL_BYTES_DEFAULT;
use warmpath_core::wire::Pools;

/// The controller's cluster in every configuration that has a controller.
const CLUSTER: &str = "warmpath_controller";

/// Time between two looks at the lease, and a little more than the first retry of the stream.
const STEP: Duration = Duration::from_millis(250);

/// A configured VM.
pub(crate) fn vm(host: &Host, config: &Config) -> Vm {
    host.vm(config)
}

/// Addresses of `count` engines.
pub(crate) fn endpoints(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("10.0.{}.{}:8000", at / 250, at % 250 + 1)).collect()
}

/// One pool `llama` with the adapter `sql`, without a controller, and decisions that explain themselves.
pub(crate) fn static_config(count: usize) -> Config {
    let mut pools = pools_of(0..0);
    pools.pools[0].adapters.push("sql".to_owned());
    let endpoint = |address| warmpath_core::wire::PoolEndpoint {
        address,
        ..warmpath_core::wire::PoolEndpoint::default()
    };
    pools.pools[0].endpoints = endpoints(count).into_iter().map(endpoint).collect();
    Config {
        pools,
        controller: None,
        cell_bytes: CELL_BYTES_DEFAULT,
        alternates: 3,
        omitted_prefixes: Vec::new(),
        affinity_headers: Vec::new(),
        model_header: None,
        tenant_header: None,
        objective_header: None,
        hold: HoldLimits::default(),
        explain: Explain::Everybody,
    }
}

/// Pools from a controller.
pub(crate) fn with_controller() -> Config {
    Config {
        pools: Pools::default(),
        controller: Some(ControllerConfig { cluster: CLUSTER.to_owned(), token: None }),
        ..static_config(0)
    }
}

/// Lets a moment pass in which every VM has its tick.
pub(crate) fn step(host: &Host, vms: &[&Vm]) {
    host.advance(STEP);
    for vm in vms {
        vm.tick();
    }
}

/// A counter's value, once the VMs have had a tick; zero where nobody has counted yet.
pub(crate) fn counted(host: &Host, vms: &[&Vm], name: &str) -> u64 {
    for vm in vms {
        vm.tick();
    }
    host.metric(name)
}
