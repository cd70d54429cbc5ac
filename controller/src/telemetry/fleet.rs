//! Which endpoints of a pool fail at once.
//!
//! Each endpoint is scraped by its own task; what they have in common is seen here. If all of a pool fail, the controller's
//! own network, or a policy on `/metrics`, is the more likely cause.

use super::engine::{EngineKind, Reading};
use super::latency::Latencies;
use super::token_times::Page;
use super::tracker::Outcome;
use crate::config::Pool;
use crate::metrics::Metrics;
use fnv::FnvHashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use warmpath_core::wire::{Health, Role};

/// The endpoints of all pools, and what the scrapes of each show, whatever is published. Its copies share one state.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    pools: Vec<Members>,
    seen: FnvHashMap<SocketAddr, Seen>,
    /// The last one of each that showed how long tokens took.
    pages: FnvHashMap<SocketAddr, Page>,
}

/// What the scrapes of one endpoint show.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Whether they succeed.
    pub health: Health,
    /// What the last one came to, by its name in metrics.
    pub last: &'static str,
    /// When the last good one ended.
    pub good: Option<Instant>,
    /// Whose metrics it showed; none where it showed no known ones.
    pub kind: Option<EngineKind>,
    /// As in [`super::Reading::legs`].
    pub legs: Option<Role>,
    /// As in [`super::Reading::has_nixl`].
    pub has_nixl: bool,
    /// Whether its bootstrap server accepts connections; none where it has none, or before it was tried.
    pub has_bootstrap: Option<bool>,
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
    /// What the scrapes of an endpoint show; none before the first one has ended.
    pub fn seen(&self, address: SocketAddr) -> Option<Seen> {
        self.lock().seen.get(&address).copied()
    }

    /// How long an endpoint's tokens took since its process started, by its last page; none before it has shown one.
    pub(super) fn page(&self, address: SocketAddr) -> Option<Page> {
        self.lock().pages.get(&address).cloned()
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
        let is_kept = |address: &SocketAddr| pools.iter().any(|pool| pool.endpoints.contains(address));
        state.seen.retain(|address, _| is_kept(address));
        state.pages.retain(|address, _| is_kept(address));
        metrics.unscrapable.clear();
        for pool in &pools {
            metrics.show_unscrapable(&pool.name, pool.is_blind);
        }
        state.pools = pools;
    }

    /// Records what a scrape of an endpoint came to, and what its health is by that. Returns whether the scrapes of another
    /// one of its pool succeed.
    pub(super) fn report(
        &self,
        address: SocketAddr,
        (health, outcome): (Health, Outcome),
        metrics: &Metrics,
    ) -> bool {
        let State { pools, seen, .. } = &mut *self.lock();
        let before = seen.get(&address).copied();
        seen.insert(address, Seen::of(health, outcome, before));
        let fails =
            |endpoint: &SocketAddr| seen.get(endpoint).is_some_and(|seen| seen.health == Health::Unhealthy);
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

    /// Records how long an endpoint's tokens took, by a page of it.
    pub(super) fn report_latencies(&self, address: SocketAddr, latencies: Arc<Latencies>) {
        let mut state = self.lock();
        if state.pools.iter().any(|pool| pool.endpoints.contains(&address)) {
            state.pages.insert(address, Page { at: Instant::now(), latencies });
        }
    }

    /// Records whether an endpoint's bootstrap server accepts connections.
    pub(super) fn report_bootstrap(&self, address: SocketAddr, accepts: Option<bool>) {
        if let Some(seen) = self.lock().seen.get_mut(&address) {
            seen.has_bootstrap = accepts;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No update leaves it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Seen ===

impl Seen {
    fn of(health: Health, outcome: Outcome, before: Option<Self>) -> Self {
        let unread = Self {
            health,
            last: outcome.label(),
            good: None,
            kind: None,
            legs: None,
            has_nixl: false,
            has_bootstrap: before.and_then(|seen| seen.has_bootstrap),
        };
        match outcome {
            Outcome::Page(Reading { kind, legs, has_nixl, .. }) => {
                Self { good: Some(Instant::now()), kind, legs, has_nixl, ..unread }
            }
            Outcome::Alive => Self { good: Some(Instant::now()), ..unread },
            Outcome::Failed(_) => {
                before.map_or(unread, |before| Self { health, last: unread.last, ..before })
            }
        }
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
    use crate::telemetry::tracker::{Failure, Outcome};
    use std::net::SocketAddr;
    use warmpath_core::wire::Health;

    #[test]
    fn one_that_fails_with_all_others_is_not_alone() {
        let (alive, late) = (Outcome::Alive, Outcome::Failed(Failure::Timeout));
        let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let pool = |name: &str, ports: &[u16]| Pool {
            name: name.to_owned(),
            endpoints: ports.iter().map(|port| address(*port).into()).collect(),
            ..Pool::default()
        };
        let metrics = Metrics::default();
        let fleet = Fleet::default();
        fleet.follow(&[pool("a", &[1, 2]), pool("b", &[3])], &metrics);
        assert!(
            fleet.report(address(1), (Health::Unhealthy, late), &metrics),
            "the other was not scraped yet"
        );
        assert!(!fleet.report(address(2), (Health::Unhealthy, late), &metrics));
        assert!(metrics.page().contains("pool_unscrapable{pool=\"a\"} 1"));
        assert!(fleet.report(address(2), (Health::Healthy, alive), &metrics));
        assert!(metrics.page().contains("pool_unscrapable{pool=\"a\"} 0"));
        assert!(!fleet.report(address(3), (Health::Unhealthy, late), &metrics), "its pool has no other");
    }
}
