//! Which requests that waited for a pool to wake go on while more of its engines are about to come.
//!
//! ```text
//!   the oldest ─► fits into what the engines could compute in a second ─► goes on
//!   the others ─► wait for that second to pass, or for the next engine
//! ```
//!
//! Without it, all of them would be sent to the engine that is ready first, and those that come seconds later would find nothing to do:
//! a request that was sent cannot be moved. An engine serves those that it was sent one after the other, so to wait in the proxy
//! instead costs none of them anything, as long as the engine always has work. An equal share for each engine, the obvious other way,
//! would leave the first one idle while the others start, which may take minutes or fail.

use super::{Endpoint, Fitness, Leg, Pool, View};
use crate::admission::HeldKey;
use crate::cost::Averages;
use crate::ids::OriginId;
use crate::num::float;
use crate::time::Timestamp;

/// Prefill work that an engine is sent ahead, in seconds: several ticks of a proxy, and the way of its events to the others. With more,
/// the next engine to come finds less to do.
const AHEAD_S: f64 = 1.0;

// === impl View ===

impl View {
    /// Whether requests that waited for the pool to wake go on only as its engines can take them. Those that come meanwhile wait
    /// behind them.
    ///
    /// Where only prefill engines are there, they wait for the first one that decodes: requests that were sent whole to a prefill engine
    /// would decode there to their end. Where nobody waits, prefill engines serve: all engines for responses may have failed.
    pub fn is_pacing(&self, pool: &Pool) -> bool {
        let waits = || self.admission(pool.name()).is_some_and(|gate| gate.queue().has_for_endpoint());
        pool.wake().is_some_and(|wake| wake.is_growing) && pool.has_takers() && waits()
    }

    /// The request of `origin` that goes on next in such a pool, if one can now. All VMs come to the same order, so that none has to
    /// know which of them sends the next one. `is_held`: whether one of `origin` still waits, by its number.
    pub fn next_paced(
        &self,
        pool: &Pool,
        (origin, is_held): (OriginId, impl Fn(u64) -> bool),
        now: Timestamp,
    ) -> Option<HeldKey> {
        if pool.transfer().is_some() && pool.taking(Leg::Decode).is_empty() {
            return None;
        }
        let mut room_tokens = self.spare_tokens(pool, now);
        for waiting in self.admission(pool.name())?.queue().for_endpoint() {
            if room_tokens <= 0.0 {
                return None;
            }
            let is_own = waiting.key.origin == origin;
            match is_own && is_held(waiting.key.number) {
                true => return Some(waiting.key),
                // It is on its way already.
                false if is_own => {}
                false => room_tokens -= float(waiting.asked.tokens),
            }
        }
        None
    }

    /// Prefill work that the engines of a pool could take on at once, in tokens' worth: those for prompts where there are such, because
    /// what the others could compute stays free while requests are split. Without limit where none is fit: what is sent there is a last
    /// resort.
    fn spare_tokens(&self, pool: &Pool, now: Timestamp) -> f64 {
        let fit = |leg| -> Vec<&Endpoint> {
            let endpoints = pool.taking(leg).iter().filter_map(|slot| self.endpoint(*slot));
            endpoints.filter(|one| one.fitness(now) == Fitness::Fit).collect()
        };
        let legs = [Leg::Prefill, Leg::Whole].into_iter();
        let Some(fit) = legs.map(fit).find(|fit| !fit.is_empty()) else { return f64::INFINITY };
        let averages = Averages::of(fit.iter().copied(), now);
        let spare = |endpoint: &&Endpoint| {
            let s_per_token = averages.prefill_s_per_token(endpoint);
            (AHEAD_S / s_per_token - endpoint.backlog_tokens(s_per_token, now)).max(0.0)
        };
        fit.iter().map(spare).sum()
    }
}
