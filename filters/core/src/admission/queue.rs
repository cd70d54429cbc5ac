//! The requests of a pool that wait, in all proxies.
//!
//! Every VM knows all of them, so that the order is one order, and a scaler sees them. They stand in further lists, of keys alone, from
//! which that order follows: all by age, and those that wait for room also by tenant.

use crate::ids::{ConversationId, OriginId, TenantId};
use crate::time::Timestamp;
use crate::wire::{self, HeldFor};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, btree_map};

/// Requests of a pool that are known to wait, in all proxies; those beyond wait where they are, unseen by others.
pub const HELD_MAX: usize = 16_384;
/// After how long a request is not believed to wait any more that is not repeated, in milliseconds. It is every five seconds.
const SILENCE_MS_MAX: u64 = 15_000;

/// Names a held request in every process: the VM that holds it, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HeldKey {
    /// The VM.
    pub origin: OriginId,
    /// Its number.
    pub number: u64,
}

/// What a request asks of the gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Its conversation, if that is followed.
    pub conversation: Option<ConversationId>,
    /// Tokens of its prompt and of the response that is expected.
    pub tokens: u64,
    /// Tokens of those that other conversations begin with, too.
    pub shared_tokens: u64,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its priority: higher is more important; below zero, it may be refused.
    pub priority: i32,
    /// Whether the cells of its prompt are of a kind that engines do not report.
    pub is_learned: bool,
}

/// One that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its name.
    pub key: HeldKey,
    /// What it asks.
    pub asked: Asked,
    /// What it waits for.
    pub held_for: HeldFor,
    /// Since when.
    pub since: Timestamp,
    /// Bytes of its body.
    pub body_bytes: u64,
    /// When it was last said to wait.
    repeated: Timestamp,
}

/// See the module. By their names, because each is repeated every few seconds.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    waiting: BTreeMap<HeldKey, Waiting>,
    /// Those that wait for room.
    by_age: BTreeSet<(Timestamp, HeldKey)>,
    /// Those that wait for an endpoint.
    for_endpoint: BTreeSet<(Timestamp, HeldKey)>,
    /// The tokens that each needs for itself.
    by_tenant: BTreeMap<TenantId, BTreeMap<Rank, u64>>,
    /// What each origin holds. Each new one is measured against what its process holds already.
    by_origin: BTreeMap<OriginId, HeldSum>,
}

/// What an origin holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldSum {
    /// Requests.
    pub requests: u64,
    /// Bytes of their bodies.
    pub body_bytes: u64,
}

/// What comes first of one tenant's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    priority: Reverse<i32>,
    pub(super) since: Timestamp,
    pub(super) key: HeldKey,
}

/// What one tenant has waiting for room, first to last, with the tokens that each needs for itself.
#[derive(Clone, Debug, Default)]
pub(super) struct OfTenant<'a>(btree_map::Iter<'a, Rank, u64>);

// === impl Asked ===

impl Asked {
    /// Tokens that an endpoint would keep for it alone.
    pub fn own_tokens(&self) -> u64 {
        self.tokens.saturating_sub(self.shared_tokens)
    }
}

// === impl Queue ===

impl Queue {
    pub(super) fn add(&mut self, held: &wire::Held, now: Timestamp) {
        let key = HeldKey { origin: OriginId(held.origin), number: held.number };
        if self.waiting.len() >= HELD_MAX && !self.waiting.contains_key(&key) {
            return;
        }
        let asked = Asked {
            conversation: (held.conversation != 0).then_some(ConversationId(held.conversation)),
            tokens: held.tokens,
            shared_tokens: 0,
            tenant: TenantId(held.tenant),
            priority: held.priority,
            // It is asked again when it goes on.
            is_learned: false,
        };
        let (held_for, body_bytes) = (held.held_for(), held.body_bytes);
        let since = now.minus_ms(held.age_ms);
        self.remove(key);
        let waiting = Waiting { key, asked, held_for, since, body_bytes, repeated: now };
        self.waiting.insert(key, waiting);
        let sum = self.by_origin.entry(key.origin).or_default();
        sum.requests += 1;
        sum.body_bytes = sum.body_bytes.saturating_add(body_bytes);
        match held_for {
            HeldFor::Room => {
                self.by_age.insert((since, key));
                let of_tenant = self.by_tenant.entry(asked.tenant).or_default();
                of_tenant.insert(Rank::of(&waiting), asked.own_tokens());
            }
            HeldFor::Endpoint => {
                self.for_endpoint.insert((since, key));
            }
        }
    }

    pub(super) fn remove(&mut self, key: HeldKey) {
        let Some(waiting) = self.waiting.remove(&key) else { return };
        self.by_age.remove(&(waiting.since, key));
        self.for_endpoint.remove(&(waiting.since, key));
        if let Some(sum) = self.by_origin.get_mut(&key.origin) {
            sum.requests = sum.requests.saturating_sub(1);
            sum.body_bytes = sum.body_bytes.saturating_sub(waiting.body_bytes);
            if sum.requests == 0 {
                self.by_origin.remove(&key.origin);
            }
        }
        if let Some(of_tenant) = self.by_tenant.get_mut(&waiting.asked.tenant) {
            of_tenant.remove(&Rank::of(&waiting));
            if of_tenant.is_empty() {
                self.by_tenant.remove(&waiting.asked.tenant);
            }
        }
    }

    pub(super) fn drop_origin(&mut self, origin: OriginId) {
        self.remove_all(|waiting| waiting.key.origin == origin);
    }

    /// Drops those that whoever holds them repeats no more: they were released, and nobody has said so.
    pub(super) fn expire(&mut self, now: Timestamp) {
        self.remove_all(|waiting| now.ms_apart(waiting.repeated) > SILENCE_MS_MAX);
    }

    fn remove_all(&mut self, goes: impl Fn(&Waiting) -> bool) {
        let going: Vec<HeldKey> = self.waiting.values().filter(|one| goes(one)).map(|one| one.key).collect();
        for key in going {
            self.remove(key);
        }
    }

    /// One of them.
    pub fn get(&self, key: HeldKey) -> Option<&Waiting> {
        self.waiting.get(&key)
    }

    /// What an origin holds.
    pub fn of_origin(&self, origin: OriginId) -> HeldSum {
        self.by_origin.get(&origin).copied().unwrap_or_default()
    }

    /// Those that wait for room, the oldest first.
    pub(super) fn by_age(&self) -> impl Iterator<Item = &Waiting> {
        self.by_age.iter().filter_map(|(_, key)| self.waiting.get(key))
    }

    /// Those that wait for an endpoint, the oldest first.
    pub fn for_endpoint(&self) -> impl Iterator<Item = &Waiting> {
        self.for_endpoint.iter().filter_map(|(_, key)| self.waiting.get(key))
    }

    /// Whether any waits for an endpoint.
    pub fn has_for_endpoint(&self) -> bool {
        !self.for_endpoint.is_empty()
    }

    /// The tenants of those that wait for room, each with its own.
    pub(super) fn tenants(&self) -> impl Iterator<Item = (TenantId, OfTenant<'_>)> {
        self.by_tenant.iter().map(|(tenant, all)| (*tenant, OfTenant(all.iter())))
    }

    pub(super) fn of_tenant(&self, tenant: TenantId) -> OfTenant<'_> {
        self.by_tenant.get(&tenant).map(|all| OfTenant(all.iter())).unwrap_or_default()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// How many tenants have requests that wait for room.
    pub fn tenants_len(&self) -> usize {
        self.by_tenant.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// All that wait, in any order.
    pub fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.values()
    }
}

// === impl Rank ===

impl Rank {
    fn of(waiting: &Waiting) -> Self {
        Self { priority: Reverse(waiting.asked.priority), since: waiting.since, key: waiting.key }
    }

    pub(super) fn priority(&self) -> i32 {
        self.priority.0
    }
}

// === impl OfTenant ===

impl Iterator for OfTenant<'_> {
    type Item = (Rank, u64);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(rank, own_tokens)| (*rank, *own_tokens))
    }
}

#[cfg(test)]
mod tests {
    use super::{HeldKey, HeldSum, Queue, SILENCE_MS_MAX};
    use crate::ids::OriginId;
    use crate::time::Timestamp;
    use crate::wire::Held;

    #[test]
    fn what_each_origin_holds_follows_what_comes_grows_and_goes() {
        let (mut queue, now) = (Queue::default(), Timestamp::from_ms(100_000));
        let held = |origin, number, body_bytes| Held { origin, number, body_bytes, ..Held::default() };
        for (origin, number, body_bytes) in [(1, 1, 100), (1, 2, 20), (2, 1, 5), (1, 1, 300), (3, 1, 9)] {
            queue.add(&held(origin, number, body_bytes), now);
        }
        let of = |queue: &Queue| {
            [1, 2, 3].map(|origin| {
                let HeldSum { requests, body_bytes } = queue.of_origin(OriginId(origin));
                (requests, body_bytes)
            })
        };
        assert_eq!(of(&queue), [(2, 320), (1, 5), (1, 9)], "one came again with more of its body");
        queue.remove(HeldKey { origin: OriginId(1), number: 2 });
        queue.drop_origin(OriginId(3));
        assert_eq!(of(&queue), [(1, 300), (1, 5), (0, 0)]);
        queue.expire(now.plus_ms(SILENCE_MS_MAX + 1));
        assert_eq!((of(&queue), queue.by_origin.len()), ([(0, 0); 3], 0));
    }
}
