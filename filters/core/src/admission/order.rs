//! In which order held requests go on.
//!
//! Whoever is overdue is first, whatever else, so that nobody starves. Then priority, then the tenants' shares, then age.

use super::{Admission, Asked, Waiting};
use crate::ids::TenantId;
use crate::time::Timestamp;
use crate::wire::HeldFor;
use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;

/// Part of the longest wait, in thousandths, after which a request is overdue: the rest is for the turns under way to end, whose
/// places it takes.
const OVERDUE_PERMILLE: u64 = 900;

/// One that waits, in its order.
#[derive(Clone, Copy, Debug)]
pub(super) struct InOrder {
    pub(super) waiting: Waiting,
    pub(super) is_overdue: bool,
}

// === impl Admission ===

impl Admission {
    /// Those that wait for room, in the order in which they go on.
    pub(super) fn order(&self, now: Timestamp) -> Vec<InOrder> {
        let waits = |waiting: &&Waiting| waiting.held_for == HeldFor::Room;
        let mut all: Vec<Waiting> = self.queue.iter().filter(waits).copied().collect();
        all.sort_unstable_by_key(|waiting| (Reverse(waiting.asked.priority), waiting.since, waiting.key));
        let mut starts: BTreeMap<TenantId, f64> = BTreeMap::new();
        let mut order: Vec<(f64, InOrder)> = Vec::with_capacity(all.len());
        for waiting in all {
            let Asked { tenant, .. } = waiting.asked;
            let next = starts.entry(tenant).or_insert_with(|| self.shares.start(tenant));
            let start = *next;
            *next += self.shares.cost(tenant, waiting.asked.own_tokens());
            let is_overdue = self.is_overdue(now.ms_since(waiting.since));
            order.push((start, InOrder { waiting, is_overdue }));
        }
        order.sort_by(|(one_start, one), (other_start, other)| {
            let key = |one: &InOrder| (!one.is_overdue, Reverse(one.waiting.asked.priority));
            let by_start = || one_start.partial_cmp(other_start).unwrap_or(Ordering::Equal);
            let by_age = |one: &InOrder| (one.waiting.since, one.waiting.key);
            let rest = || {
                // Among those that are overdue, age alone counts.
                let by_share = if one.is_overdue { Ordering::Equal } else { by_start() };
                by_share.then_with(|| by_age(one).cmp(&by_age(other)))
            };
            key(one).cmp(&key(other)).then_with(rest)
        });
        order.into_iter().map(|(_, one)| one).collect()
    }

    /// Whether a request that has waited for so long is overdue.
    pub(super) fn is_overdue(&self, waited_ms: u64) -> bool {
        let longest_ms = u64::from(self.hold.room_ms_max);
        waited_ms.saturating_mul(1_000) >= longest_ms.saturating_mul(OVERDUE_PERMILLE) && longest_ms > 0
    }
}
