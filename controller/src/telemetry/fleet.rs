//! Which endpoints of a pool fail at once.
//!
//! Each endpoint is scraped by its own task; what they have in common is seen here. If all of a pool fail, the controller's
//! own network, or a policy on `/metrics`, is the more likely cause.

use crate::config::Pool;
use crate::metrics::Metrics;
use fnv::FnvHashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use warmpath_core::wire::Health;

/// The endpoints of all pools, and what the scrapes of each show, whatever is published. Its copies share one state.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    pools: Vec<Members>,
    health: FnvHashMap<SocketAddr, Health>,
}

/// One pool.
#[derive(Debug)]
struct Members {
    name: String,
    endpoints: Vec<SocketAddr>,
    is_blind: bool,
}

// === impl Fleet ===

impl Fleet {
    /// What the scrapes of an endpoint show.
    pub fn health(&self, address: SocketAddr) -> Health {
        self.lock().health.get(&address).copied().unwrap_or_default()
    }

    /// Follows these pools from now on.
    pub(super) fn follow(&self, pools: &[Pool], metrics: &Metrics) {
        let mut state = self.lock();
        let blind = |name: &str| state.pools.iter().any(|pool| pool.name == name && pool.is_blind);
        let members = |pool: &Pool| Members {
            name: pool.name.clone(),
            endpoints: pool.endpoints.iter().map(|member| member.address).collect(),
            is_blind: blind(&pool.name),
        };
        let pools: Vec<Members> = pools.iter().map(members).collect();
        state.health.retain(|address, _| pools.iter().any(|pool| pool.endpoints.contains(address)));
        metrics.unscrapable.clear();
        for pool in &pools {
            metrics.show_unscrapable(&pool.name, pool.is_blind);
        }
        state.pools = pools;
    }

    /// Records what the scrapes of an endpoint show. Returns whether the scrapes of another one of its pool succeed.
    pub(super) fn report(&self, address: SocketAddr, health: Health, metrics: &Metrics) -> bool {
        let State { pools, health: seen } = &mut *self.lock();
        seen.insert(address, health);
        let fails = |endpoint: &SocketAddr| seen.get(endpoint) == Some(&Health::Unhealthy);
        let mut has_others = false;
        for pool in pools.iter_mut().filter(|pool| pool.endpoints.contains(&address)) {
            let is_blind = pool.endpoints.iter().all(fails);
            has_others |= !is_blind;
            if is_blind != pool.is_blind {
                pool.is_blind = is_blind;
                metrics.show_unscrapable(&pool.name, is_blind);
                log(&pool.name, is_blind);
            }
        }
        has_others
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No update leaves it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log(pool: &str, is_blind: bool) {
    if is_blind {
        tracing::error!(
            pool,
            "no engine of the pool can be scraped, their health is published as unknown: check the network \
             between controller and engines, and the access to /metrics"
        );
    } else {
        tracing::info!(pool, "engines of the pool can be scraped again");
    }
}

#[cfg(test)]
mod tests {
    use super::Fleet;
    use crate::config::Pool;
    use crate::metrics::Metrics;
    use std::net::SocketAddr;
    use warmpath_core::wire::Health;

    #[test]
    fn one_that_fails_with_all_others_is_not_alone() {
        let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let pool = |name: &str, ports: &[u16]| Pool {
            name: name.to_owned(),
            endpoints: ports.iter().map(|port| address(*port).into()).collect(),
            ..Pool::default()
        };
        let metrics = Metrics::default();
        let fleet = Fleet::default();
        fleet.follow(&[pool("a", &[1, 2]), pool("b", &[3])], &metrics);
        assert!(fleet.report(address(1), Health::Unhealthy, &metrics), "the other was not scraped yet");
        assert!(!fleet.report(address(2), Health::Unhealthy, &metrics));
        assert!(metrics.page().contains("pool_unscrapable{pool=\"a\"} 1"));
        assert!(fleet.report(address(2), Health::Healthy, &metrics));
        assert!(metrics.page().contains("pool_unscrapable{pool=\"a\"} 0"));
        assert!(!fleet.report(address(3), Health::Unhealthy, &metrics), "its pool has no other");
    }
}
