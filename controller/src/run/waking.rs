//! Pools that wake: an engine of a pool that had none is published to filters a moment later than to Envoy's clusters.
//!
//! The requests that proxies hold for such a pool go on as soon as the filter knows of an endpoint, and Envoy responds with 503 if its
//! cluster has none yet. The filter learns of it from the controller, and the cluster from whoever serves its endpoints: istiod batches
//! changes for some hundred milliseconds. Envoy does not show a filter what a cluster has, and retries nothing that found no host.

use crate::config::Pool;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long Envoy's clusters may take.
const SETTLE: Duration = Duration::from_secs(1);

/// The pools that have no endpoints, as far as requests wait for them.
#[derive(Debug, Default)]
pub(super) struct Waking {
    /// By name; since when they have endpoints again.
    asleep: BTreeMap<String, Option<Instant>>,
}

// === impl Waking ===

impl Waking {
    /// The pools as filters are to know them at `now`.
    pub(super) fn settle(&mut self, pools: &[Pool], now: Instant) -> Vec<Pool> {
        self.asleep.retain(|name, _| pools.iter().any(|pool| pool.name == *name));
        pools.iter().map(|pool| self.settled(pool, now)).collect()
    }

    /// When the next pool has settled.
    pub(super) fn due(&self) -> Option<Instant> {
        self.asleep.values().flatten().min().map(|since| *since + SETTLE)
    }

    fn settled(&mut self, pool: &Pool, now: Instant) -> Pool {
        let waits = pool.hold.as_ref().is_some_and(|hold| hold.endpoint_ms_max > 0);
        if waits && pool.endpoints.is_empty() {
            self.asleep.insert(pool.name.clone(), None);
        } else if let Some(awake) = self.asleep.get_mut(&pool.name) {
            if waits && now < *awake.get_or_insert(now) + SETTLE {
                return Pool { endpoints: Vec::new(), ..pool.clone() };
            }
            self.asleep.remove(&pool.name);
        }
        pool.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::{SETTLE, Waking};
    use crate::config::Pool;
    use std::time::{Duration, Instant};
    use warmpath_core::wire::Hold;

    fn pool(endpoints: usize, longest_s: u32) -> Pool {
        let address = |at: usize| format!("10.0.0.{at}:8000").parse::<std::net::SocketAddr>().unwrap().into();
        let hold = Some(Hold { endpoint_ms_max: 1_000 * longest_s, ..Hold::default() });
        Pool {
            name: "p".to_owned(),
            endpoints: (0..endpoints).map(address).collect(),
            hold,
            ..Pool::default()
        }
    }

    #[test]
    fn a_pool_that_wakes_is_empty_for_filters_until_clusters_have_its_endpoints() {
        let (mut waking, start) = (Waking::default(), Instant::now());
        let count =
            |waking: &mut Waking, endpoints, at| waking.settle(&[pool(endpoints, 60)], at)[0].endpoints.len();
        let later = |ms| start + Duration::from_millis(ms);
        assert_eq!(count(&mut waking, 2, start), 2, "it was not seen asleep");
        assert_eq!(count(&mut waking, 0, later(1)), 0);
        assert_eq!(waking.due(), None);
        assert_eq!(count(&mut waking, 1, later(10)), 0);
        assert_eq!(waking.due(), Some(later(10) + SETTLE));
        assert_eq!(count(&mut waking, 2, later(900)), 0, "another engine does not make it wait for longer");
        assert_eq!(count(&mut waking, 2, later(10) + SETTLE), 2);
        assert_eq!((waking.due(), count(&mut waking, 1, later(5_000))), (None, 1));
    }

    #[test]
    fn an_engine_that_is_gone_again_begins_anew() {
        let (mut waking, start) = (Waking::default(), Instant::now());
        let count =
            |waking: &mut Waking, endpoints, at| waking.settle(&[pool(endpoints, 60)], at)[0].endpoints.len();
        for endpoints in [0, 1, 0] {
            assert_eq!(count(&mut waking, endpoints, start), 0);
        }
        assert_eq!(count(&mut waking, 1, start + SETTLE), 0);
        assert_eq!(count(&mut waking, 1, start + 2 * SETTLE), 1);
    }

    #[test]
    fn a_pool_for_which_no_request_waits_is_published_at_once() {
        let (mut waking, start) = (Waking::default(), Instant::now());
        for endpoints in [0, 1] {
            assert_eq!(waking.settle(&[pool(endpoints, 0)], start)[0].endpoints.len(), endpoints);
        }
        waking.settle(&[pool(0, 60)], start);
        assert_eq!(waking.settle(&[pool(1, 0)], start)[0].endpoints.len(), 1, "its hold was removed");
        waking.settle(&[pool(0, 60)], start);
        waking.settle(&[pool(1, 60)], start);
        waking.settle(&[], start);
        assert_eq!(waking.due(), None, "the pool is gone");
    }
}
