//! What was published of how pools wake: each pool once, then what has changed, and the time that has passed while it wakes.
//!
//! By what this controller has published, not by what its view has: a proxy may have it from an earlier controller that the pool has been
//! waking since yesterday.

use super::{pool_of, service::Service};
use crate::config::ObjectName;
use crate::publish::Hub;
use std::collections::BTreeMap;
use warmpath_core::num::{count, float};
use warmpath_core::time::Timestamp;
use warmpath_core::view::View;
use warmpath_core::wire::{Kind, WakeTime};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Wakes(BTreeMap<ObjectName, WakeTime>);

// === impl Wakes ===

impl Wakes {
    /// Publishes how the pool of a service wakes, if proxies may not know it.
    pub(super) fn publish(&mut self, hub: &mut Hub, name: &ObjectName, service: &Service, now: Timestamp) {
        let (wake, is_growing) = (service.wake_time(float(now.us()) / 1e6), service.is_growing());
        let ms = |seconds: f64| count(seconds * 1e3);
        let usual_ms = wake.map_or(0, |wake| ms(wake.usual_s));
        let passed_ms = wake.and_then(|wake| wake.passed_s).map(ms);
        let wake = WakeTime { pool: pool_of(name), usual_ms, passed_ms, is_growing };
        if self.is_due(name, &wake, hub.index().view()) {
            hub.publish(Kind::WakeTime(wake), now);
        }
    }

    /// Takes back what was published of services that are not scaled any more.
    pub(super) fn retain(&mut self, hub: &mut Hub, is_scaled: impl Fn(&ObjectName) -> bool, now: Timestamp) {
        self.0.retain(|name, published| {
            let is_kept = is_scaled(name);
            if !is_kept {
                let pool = std::mem::take(&mut published.pool);
                hub.publish(Kind::WakeTime(WakeTime { pool, ..WakeTime::default() }), now);
            }
            is_kept
        });
    }

    /// Whether it has to be published. While a pool wakes, it is with each plan: a proxy that comes back after a moment has the time of
    /// before.
    fn is_due(&mut self, name: &ObjectName, wake: &WakeTime, view: &View) -> bool {
        let Some(pool) = view.pools().iter().find(|pool| pool.name() == wake.pool) else {
            // Of a pool that comes back, proxies know nothing.
            self.0.remove(name);
            return false;
        };
        let is_lost = (wake.usual_ms > 0 || wake.is_growing) && pool.wake().is_none();
        let is_due = wake.passed_ms.is_some() || is_lost || self.0.get(name) != Some(wake);
        if is_due {
            self.0.insert(name.clone(), wake.clone());
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, ObjectName, Timestamp, View, WakeTime, Wakes, pool_of};
    use warmpath_core::wire::{Pool, Pools};

    #[test]
    fn a_pool_that_woke_when_an_earlier_controller_ended_does_not_wake_for_ever() {
        let (mut wakes, mut view) = (Wakes::default(), View::default());
        let name = ObjectName { namespace: "prod".into(), name: "llama".into() };
        let unknown = WakeTime { pool: pool_of(&name), ..WakeTime::default() };
        assert!(!wakes.is_due(&name, &unknown, &view), "there is no such pool");
        let pools = Pools { pools: vec![Pool { name: pool_of(&name), ..Pool::default() }] };
        let now = Timestamp::from_ms(1_000);
        view.apply(&Kind::Pools(pools).into(), now);
        assert!(wakes.is_due(&name, &unknown, &view), "proxies may have what an earlier controller said");
        assert!(!wakes.is_due(&name, &unknown, &view));
        let waking = WakeTime { passed_ms: Some(5_000), is_growing: true, ..unknown.clone() };
        let known = WakeTime { usual_ms: 30_000, ..unknown };
        for (wake, is_due) in [(&waking, true), (&waking, true), (&known, true), (&known, false)] {
            assert_eq!(wakes.is_due(&name, wake, &view), is_due, "{wake:?}");
            view.apply(&Kind::WakeTime(wake.clone()).into(), now);
        }
    }
}
