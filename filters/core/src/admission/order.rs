//! In which order held requests go on.
//!
//! Whoever is overdue is first, whatever else, so that nobody starves. Then priority, then the tenants' shares, then age.
//!
//! Thousands may wait, and each request and each tick looks at the first few of them. So the queue keeps them sorted, by age, and each
//! tenant's by priority and age: in that order a tenant's starts never decrease, so whoever is next is the first of some tenant.

use super::queue::{OfTenant, Rank, Waiting};
use super::shares::Shares;
use super::{Admission, Asked};
use crate::ids::TenantId;
use crate::time::Timestamp;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Part of the longest wait, in thousandths, after which a request is overdue: the rest is for the turns under way to end, whose
/// places it takes.
const OVERDUE_PERMILLE: u64 = 900;

/// One that waits, in its order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct InOrder {
    pub(super) waiting: Waiting,
    pub(super) is_overdue: bool,
}

/// The next one of a tenant, and those behind it.
struct Head<'a> {
    start: f64,
    tenant: TenantId,
    rank: Rank,
    own_tokens: u64,
    others: OfTenant<'a>,
}

// === impl Admission ===

impl Admission {
    /// The first of those that wait for room, in the order in which they go on.
    pub(super) fn order(&self, count: usize, now: Timestamp) -> Vec<InOrder> {
        let overdue = self.queue.by_age().take_while(|waiting| self.is_late(waiting.since, now));
        let mut order: Vec<InOrder> =
            overdue.take(count).map(|waiting| InOrder { waiting: *waiting, is_overdue: true }).collect();
        if order.len() == count {
            return order;
        }
        let head = |(tenant, others)| Head::first(tenant, self.shares.start(tenant), others);
        let mut heads: BinaryHeap<Head<'_>> = self.queue.tenants().filter_map(head).collect();
        while order.len() < count
            && let Some(head) = heads.pop()
        {
            let is_overdue = self.is_late(head.rank.since, now);
            if let Some(waiting) = self.queue.get(head.rank.key).filter(|_| !is_overdue) {
                order.push(InOrder { waiting: *waiting, is_overdue });
            }
            heads.extend(head.next(&self.shares));
        }
        order
    }

    /// Tokens of all that wait ahead of a request that comes now, and of itself.
    pub(super) fn tokens_ahead(&self, asked: &Asked, now: Timestamp) -> u64 {
        let cost = |tenant, own_tokens| self.shares.cost(tenant, own_tokens);
        let all_own =
            self.queue.of_tenant(asked.tenant).map(|(_, own_tokens)| cost(asked.tenant, own_tokens));
        let own_start = all_own.fold(self.shares.start(asked.tenant), |start, cost| start + cost);
        let mut ahead = asked.own_tokens();
        for (tenant, of_tenant) in self.queue.tenants() {
            let is_own = tenant == asked.tenant;
            let mut start = self.shares.start(tenant);
            for (_, own_tokens) in of_tenant.clone().filter(|(rank, _)| self.is_late(rank.since, now)) {
                start += cost(tenant, own_tokens);
                ahead = ahead.saturating_add(own_tokens);
            }
            for (rank, own_tokens) in of_tenant.filter(|(rank, _)| !self.is_late(rank.since, now)) {
                let is_before = match rank.priority().cmp(&asked.priority) {
                    Ordering::Greater => true,
                    Ordering::Equal => is_own || start <= own_start,
                    Ordering::Less => false,
                };
                start += cost(tenant, own_tokens);
                ahead = ahead.saturating_add(if is_before { own_tokens } else { 0 });
            }
        }
        ahead
    }

    /// Whether a request that has waited for so long is overdue.
    pub(super) fn is_overdue(&self, waited_ms: u64) -> bool {
        let longest_ms = u64::from(self.hold.room_ms_max);
        waited_ms.saturating_mul(1_000) >= longest_ms.saturating_mul(OVERDUE_PERMILLE) && longest_ms > 0
    }

    fn is_late(&self, since: Timestamp, now: Timestamp) -> bool {
        self.is_overdue(now.ms_since(since))
    }
}

// === impl Head ===

impl<'a> Head<'a> {
    fn first(tenant: TenantId, start: f64, mut others: OfTenant<'a>) -> Option<Self> {
        let (rank, own_tokens) = others.next()?;
        Some(Self { start, tenant, rank, own_tokens, others })
    }

    fn next(mut self, shares: &Shares) -> Option<Self> {
        let (rank, own_tokens) = self.others.next()?;
        let start = self.start + shares.cost(self.tenant, self.own_tokens);
        Some(Self { start, rank, own_tokens, ..self })
    }
}

impl Ord for Head<'_> {
    /// The greater goes on first.
    fn cmp(&self, other: &Self) -> Ordering {
        let age = |of: &Self| (of.rank.since, of.rank.key);
        let by_priority = self.rank.priority().cmp(&other.rank.priority());
        by_priority.then(other.start.total_cmp(&self.start)).then(age(other).cmp(&age(self)))
    }
}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::HeldKey;
    use crate::ids::OriginId;
    use crate::wire::{Held, HeldFor, Hold, Tenant};
    use proptest::prelude::*;
    use std::cmp::Reverse;
    use std::collections::BTreeMap;

    const WAIT_MS_MAX: u32 = 10_000;

    /// The same by its definition: all in order, by comparing each with each.
    fn by_definition(gate: &Admission, now: Timestamp) -> Vec<InOrder> {
        let mut all: Vec<Waiting> =
            gate.queue.iter().filter(|waiting| waiting.held_for == HeldFor::Room).copied().collect();
        all.sort_by_key(|one| (Reverse(one.asked.priority), one.since, one.key));
        let mut starts: BTreeMap<TenantId, f64> = BTreeMap::new();
        let mut order: Vec<(f64, InOrder)> = Vec::new();
        for waiting in all {
            let Asked { tenant, .. } = waiting.asked;
            let next = starts.entry(tenant).or_insert_with(|| gate.shares.start(tenant));
            let is_overdue = gate.is_overdue(now.ms_since(waiting.since));
            order.push((*next, InOrder { waiting, is_overdue }));
            *next += gate.shares.cost(tenant, waiting.asked.own_tokens());
        }
        order.sort_by(|(one_start, one), (other_start, other)| {
            let age = |of: &InOrder| (of.waiting.since, of.waiting.key);
            let priority = |of: &InOrder| Reverse(of.waiting.asked.priority);
            let by_age = age(one).cmp(&age(other));
            match (one.is_overdue, other.is_overdue) {
                (true, true) => by_age,
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
                (false, false) => {
                    let by_start = one_start.total_cmp(other_start);
                    priority(one).cmp(&priority(other)).then(by_start).then(by_age)
                }
            }
        });
        order.into_iter().map(|(_, one)| one).collect()
    }

    proptest! {
        /// Whoever comes, is repeated, goes or had a turn before: the queue has its order without sorting.
        #[test]
        fn the_order_is_that_of_its_definition(
            steps in prop::collection::vec((0..24_u64, 0..4_u8, -1..2_i32, 0..4_u64, 0..12_000_u64, 0..4_u8), 0..120),
            count in 1..40_usize,
        ) {
            let tenants = vec![Tenant { name: "0".into(), weight: 3 }];
            let mut gate = Admission::new(Hold { room_ms_max: WAIT_MS_MAX, tenants, ..Hold::default() }, 1);
            let now = Timestamp::from_ms(1_000_000);
            for (number, tenant, priority, thousands, age_ms, what) in steps {
                let tenant = TenantId::of(&tenant.to_string());
                let (held_for, tokens) = (HeldFor::Room.into(), thousands * 1_000);
                let held = Held { origin: 1, number, held_for, tokens, tenant: tenant.0, priority, age_ms, ..Held::default() };
                match what {
                    0 => gate.released(HeldKey { origin: OriginId(1), number }),
                    1 => gate.shares.charge(tenant, tokens),
                    _ => gate.held(&held, now),
                }
            }
            let all = by_definition(&gate, now);
            prop_assert_eq!(&gate.order(usize::MAX, now), &all);
            prop_assert_eq!(gate.order(count, now), &all[..count.min(all.len())]);
        }
    }
}
