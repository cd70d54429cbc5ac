//! Pools and endpoints before a controller has named any: those of the configuration, and those from which responses come.
//!
//! Without a controller Envoy knows the engines all the while, from its own cluster. It places what the router cannot, and
//! each response names the address that it comes from.

use super::pool::ANY_MODEL;
use super::{Pool, View};
use crate::ids::EndpointId;
use crate::wire::{self, Pools};

/// Endpoints of one pool that are discovered from responses.
const DISCOVERED_MAX: usize = 1_024;
/// Pools that are discovered: a model's name is the client's.
const POOLS_DISCOVERED_MAX: usize = 64;

/// The pools whose endpoints nobody has named.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenPools {
    names: Vec<String>,
    /// Whether no pool was named either, so that any model may be served.
    takes_any_model: bool,
}

// === impl View ===

impl View {
    /// Takes pools that hold until a controller names others: those of the configuration. One without endpoints is open.
    pub fn assume(&mut self, pools: &Pools) {
        self.set_pools(pools);
        let without_endpoints = pools.pools.iter().filter(|pool| pool.endpoints.is_empty());
        self.open_pools = Some(OpenPools {
            names: without_endpoints.map(|pool| pool.name.clone()).collect(),
            takes_any_model: pools.pools.is_empty(),
        });
    }

    /// Whether a pool may have more endpoints than are known, because neither the configuration nor a controller names them.
    pub fn is_open(&self, pool: &Pool) -> bool {
        self.open_pools.as_ref().is_some_and(|open| open.names.iter().any(|name| name == pool.name()))
    }

    /// Whether a model that no pool serves may be served all the same, because nobody has named a pool.
    pub fn is_open_to_models(&self) -> bool {
        self.open_pools.as_ref().is_some_and(|open| open.takes_any_model)
    }

    /// Takes an endpoint that has served `model` into the model's pool, if that is open. Returns whether it is in there now.
    pub fn discover(&mut self, model: &str, address: &str) -> bool {
        let known = if model.is_empty() {
            self.pools.first()
        } else {
            self.pools_for(model).next().map(|found| found.pool)
        };
        let is_in = |slot| known.is_some_and(|pool| pool.has(slot));
        if self.slot(EndpointId::of(address)).is_some_and(is_in) {
            return true;
        }
        let is_open = known.map_or_else(|| self.is_open_to_models(), |pool| self.is_open(pool));
        if !is_open || (known.is_none() && self.pools.len() >= POOLS_DISCOVERED_MAX) {
            return false;
        }
        let name = known.map_or(model, Pool::name).to_owned();
        let mut pools: Vec<_> = self.pools.iter().map(|pool| self.export_pool(pool)).collect();
        let at = pools.iter().position(|pool| pool.name == name).unwrap_or_else(|| {
            if let Some(open) = &mut self.open_pools {
                open.names.push(name.clone());
            }
            let models = vec![if model.is_empty() { ANY_MODEL.to_owned() } else { model.to_owned() }];
            pools.push(wire::Pool { name, models, ..wire::Pool::default() });
            pools.len() - 1
        });
        let Some(pool) = pools.get_mut(at).filter(|pool| pool.endpoints.len() < DISCOVERED_MAX) else {
            return false;
        };
        pool.endpoints
            .push(wire::PoolEndpoint { address: address.to_owned(), ..wire::PoolEndpoint::default() });
        self.set_pools(&Pools { pools });
        self.slot(EndpointId::of(address)).is_some()
    }
}
