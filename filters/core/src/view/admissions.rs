//! The gates of a view's pools: which events concern them, and what they are asked.

use super::{Applied, Endpoint, Fitness, Leg, Match, Pool, View};
use crate::admission::{Admission, Asked, Engines, HeldKey, Room, Sent, Verdict, Waiting};
use crate::cost::Averages;
use crate::ids::{CellHash, ConversationId, EndpointId, OriginId, RequestKey, Slot};
use crate::limits::CELLS_PER_PROMPT_MAX;
use crate::num::{count, float, float_len};
use crate::time::Timestamp;
use crate::wire::{Conversation, Ended, Held, Pools, Released, Routed, Turn};

/// Share of what an endpoint can hold from which conversations are followed: below, nothing is evicted that anybody could wait for.
const NEAR_FULL_SHARE: f64 = 0.9;
const MS_PER_S: f64 = 1_000.0;

/// The gates, by the names of their pools. Few pools have one.
#[derive(Clone, Debug, Default)]
pub(super) struct Admissions(Vec<(String, Admission)>);

// === impl Admissions ===

impl Admissions {
    /// Opens gates for pools that hold requests, and drops those of others.
    pub(super) fn set(&mut self, pools: &[Pool], seed: u64) {
        self.0.retain(|(name, _)| pools.iter().any(|pool| pool.name() == name && pool.hold().is_some()));
        for pool in pools {
            let Some(hold) = pool.hold() else { continue };
            match self.of_mut(pool.name()) {
                Some(gate) => gate.set_hold(hold.clone()),
                None => self.0.push((pool.name().to_owned(), Admission::new(hold.clone(), seed))),
            }
        }
    }

    pub(super) fn of(&self, pool: &str) -> Option<&Admission> {
        self.0.iter().find(|(name, _)| name == pool).map(|(_, gate)| gate)
    }

    fn of_mut(&mut self, pool: &str) -> Option<&mut Admission> {
        self.0.iter_mut().find(|(name, _)| name == pool).map(|(_, gate)| gate)
    }

    fn each(&mut self) -> impl Iterator<Item = &mut Admission> {
        self.0.iter_mut().map(|(_, gate)| gate)
    }

    pub(super) fn drop_origin(&mut self, origin: OriginId) {
        self.each().for_each(|gate| gate.drop_origin(origin));
    }

    pub(super) fn forget(&mut self, endpoint: EndpointId) {
        self.each().for_each(|gate| gate.forget(endpoint));
    }

    /// The conversations that are followed, for a view that knows none.
    pub(super) fn export_conversations(&self, now: Timestamp, mut each: impl FnMut(Conversation)) {
        for (pool, gate) in &self.0 {
            gate.export(now)
                .for_each(|conversation| each(Conversation { pool: pool.clone(), ..conversation }));
        }
    }

    /// The requests that wait.
    pub(super) fn export_held(&self, now: Timestamp, mut each: impl FnMut(Held)) {
        for (pool, gate) in &self.0 {
            gate.queue().iter().for_each(|waiting| each(export_waiting(pool, waiting, now)));
        }
    }
}

// === impl View ===

impl View {
    /// Whether any pool holds requests.
    pub fn has_gates(&self) -> bool {
        !self.admissions.0.is_empty()
    }

    /// The gate of a pool; `None`: its requests are not held.
    pub fn admission(&self, pool: &str) -> Option<&Admission> {
        self.admissions.of(pool)
    }

    /// The requests that these origins hold.
    pub fn held_by(&self, is_one: impl Fn(OriginId) -> bool, now: Timestamp) -> Vec<Held> {
        let mut all = Vec::new();
        self.admissions.export_held(now, |held| all.push(held));
        all.retain(|held| is_one(OriginId(held.origin)));
        all
    }

    /// What becomes of a request to a pool that comes now.
    pub fn verdict(&self, pool: &Pool, asked: &Asked, now: Timestamp) -> Verdict {
        let gate = self.admission(pool.name());
        gate.map_or(Verdict::Open, |gate| gate.verdict(asked, &self.rooms(pool, now), now))
    }

    /// The request held for a pool that goes on next, if one can now. The same in all VMs: whoever holds it sends it.
    pub fn next_held(&self, pool: &Pool, now: Timestamp) -> Option<(HeldKey, Verdict)> {
        self.admission(pool.name())?.next(&self.rooms(pool, now), now)
    }

    /// Whether a request to a pool that has endpoints waits for one all the same: nobody listens at any of them, or the proxy's
    /// cluster may lack them yet.
    pub fn is_waking(&self, pool: &Pool, now: Timestamp) -> bool {
        let is_settling = || self.admission(pool.name()).is_some_and(|gate| gate.is_settling(now));
        let is_absent = |slot: &Slot| self.endpoint(*slot).is_none_or(|endpoint| endpoint.is_absent(now));
        let are_absent = |leg| pool.taking(leg).iter().all(is_absent);
        pool.has_takers()
            && ([Leg::Whole, Leg::Prefill, Leg::Decode].into_iter().all(are_absent) || is_settling())
    }

    /// Takes a list of all pools. Those that have endpoints again settle.
    pub(super) fn take_list(&mut self, pools: &Pools, now: Timestamp) -> Applied {
        let asleep = |pool: &&Pool| pool.hold().is_some() && !pool.has_takers();
        let asleep: Vec<String> =
            self.pools.iter().filter(asleep).map(|pool| pool.name().to_owned()).collect();
        let applied = self.set_pools(pools);
        for pool in self.pools.iter().filter(|pool| pool.has_takers()) {
            if asleep.iter().any(|name| name == pool.name())
                && let Some(gate) = self.admissions.of_mut(pool.name())
            {
                gate.wake(now);
            }
        }
        applied
    }

    /// The turn that a request is which is sent to an endpoint; `new` names its conversation if that is not followed yet.
    pub fn turn_of(
        &self,
        pool: &Pool,
        asked: &Asked,
        (endpoint, waited_ms): (EndpointId, u64),
        new: impl FnOnce() -> ConversationId,
    ) -> Turn {
        let gate = self.admission(pool.name());
        let place = asked.conversation.and_then(|known| gate?.place(known));
        Turn {
            conversation: asked.conversation.unwrap_or_else(new).0,
            tokens: asked.tokens,
            shared_tokens: asked.shared_tokens,
            tenant: asked.tenant.0,
            waited_ms,
            is_new: place != Some(endpoint),
            is_learned: asked.is_learned,
        }
    }

    /// The endpoints of a pool that take whole requests and are fit, with what they hold.
    pub fn rooms(&self, pool: &Pool, now: Timestamp) -> Vec<Room> {
        let endpoints = pool.taking(Leg::Whole).iter().filter_map(|slot| self.endpoint(*slot));
        let fit = endpoints.filter(|endpoint| endpoint.fitness(now) == Fitness::Fit);
        fit.map(|endpoint| Room { endpoint: endpoint.id, tokens: endpoint.cache_tokens() }).collect()
    }

    /// Lets each gate look at its engines, and drop what is too old.
    pub(super) fn expire_gates(&mut self, now: Timestamp) {
        let mut admissions = std::mem::take(&mut self.admissions);
        for (name, gate) in &mut admissions.0 {
            let pool = self.pools.iter().find(|pool| pool.name() == name.as_str());
            gate.expire(pool.map(|pool| self.engines(pool, now)).unwrap_or_default(), now);
        }
        self.admissions = admissions;
    }

    /// The engines of a pool that take whole requests and are fit, as far as a gate looks at them.
    fn engines(&self, pool: &Pool, now: Timestamp) -> Engines {
        let slots = pool.taking(Leg::Whole).iter();
        let fit = slots.filter_map(|slot| Some((*slot, self.endpoint(*slot)?)));
        let fit: Vec<(Slot, &Endpoint)> =
            fit.filter(|(_, endpoint)| endpoint.fitness(now) == Fitness::Fit).collect();
        let averages = Averages::of(fit.iter().map(|(_, endpoint)| *endpoint), now);
        let (mut room_tokens, mut refill_s, mut backlog_s, mut is_near_full) = (0.0, 0.0, 0.0, false);
        for (slot, endpoint) in &fit {
            let s_per_token = averages.prefill_s_per_token(endpoint);
            let tokens = float(endpoint.cache_tokens());
            room_tokens += tokens;
            refill_s += tokens * s_per_token;
            backlog_s += endpoint.backlog_tokens(s_per_token, now) * s_per_token;
            let (held, capacity) = self.prefixes.held(*slot);
            is_near_full |= float_len(held) >= NEAR_FULL_SHARE * float_len(capacity);
        }
        let mean = |sum: f64| count(sum / float_len(fit.len().max(1)));
        Engines {
            room_tokens: mean(room_tokens),
            refill_ms: mean(refill_s * MS_PER_S),
            backlog_ms: mean(backlog_s * MS_PER_S),
            is_near_full,
        }
    }

    pub(super) fn begin_turn(&mut self, routed: &Routed, now: Timestamp) {
        let Some(turn) = routed.turn.as_ref() else { return };
        let endpoint = EndpointId(routed.endpoint);
        let Some(slot) = self.slot(endpoint) else { return };
        let Some(pool) = self.pools.iter().find(|pool| pool.has(slot)) else { return };
        let rooms = self.rooms(pool, now);
        let chain: Vec<CellHash> =
            routed.cells.iter().take(CELLS_PER_PROMPT_MAX).map(|cell| CellHash(*cell)).collect();
        let mut found = Vec::new();
        if turn.is_learned {
            self.find_learned(&chain, &mut found);
        } else {
            self.find(&chain, &mut found);
        }
        // What responses show that an endpoint lacks of what it should hold, it lacks of this prompt: one in which requests wait for
        // room that others take loses prefixes that nobody here has seen it lose.
        let really = |found: &Match| {
            let hit_share = self.endpoint(found.slot).map_or(1.0, Endpoint::hit_share);
            count(f64::from(found.cells) * hit_share)
        };
        let found_cells = found.iter().map(really).max().unwrap_or(0);
        let found_cells = u32::try_from(found_cells).unwrap_or(u32::MAX);
        let Some(gate) = self.admissions.of_mut(pool.name()) else { return };
        let key = RequestKey { origin: OriginId(routed.origin), request: routed.request };
        gate.sent(Sent { key, endpoint, chain: &chain, turn, found_cells }, &rooms, now);
    }

    pub(super) fn end_turn(&mut self, ended: &Ended, now: Timestamp) -> Applied {
        let key = RequestKey { origin: OriginId(ended.origin), request: ended.request };
        self.admissions.each().for_each(|gate| gate.ended(key, now));
        Applied::Changed
    }

    pub(super) fn hold(&mut self, held: &Held, now: Timestamp) -> Applied {
        let Some(gate) = self.admissions.of_mut(&held.pool) else { return Applied::Unknown };
        self.origins.insert(OriginId(held.origin), now);
        gate.held(held, now);
        Applied::Changed
    }

    pub(super) fn release(&mut self, released: &Released) -> Applied {
        let key = HeldKey { origin: OriginId(released.origin), number: released.number };
        self.admissions.each().for_each(|gate| gate.released(key));
        Applied::Changed
    }

    pub(super) fn restore_conversation(&mut self, conversation: &Conversation, now: Timestamp) -> Applied {
        let Some(gate) = self.admissions.of_mut(&conversation.pool) else { return Applied::Unknown };
        gate.restore(conversation, now);
        Applied::Changed
    }
}

fn export_waiting(pool: &str, waiting: &Waiting, now: Timestamp) -> Held {
    let Waiting { key, asked, held_for, since, body_bytes, .. } = *waiting;
    Held {
        origin: key.origin.0,
        number: key.number,
        pool: pool.to_owned(),
        held_for: held_for.into(),
        age_ms: now.ms_since(since),
        conversation: asked.conversation.map_or(0, |conversation| conversation.0),
        tokens: asked.own_tokens(),
        tenant: asked.tenant.0,
        priority: asked.priority,
        body_bytes,
    }
}
