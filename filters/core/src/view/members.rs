//! The pools of a view and their endpoints: membership, slots, and capacities.

use super::{Applied, Endpoint, Pool, View};
use crate::ids::{EndpointId, Slot};
use crate::limits::{CELLS_PER_VIEW_MAX, ENDPOINTS_MAX, POOLS_MAX, REPORTED_BYTES_MAX, VIEW_BYTES_MAX};
use crate::num::{count, float, float_len};
use crate::wire::{self, PoolEndpoint, Pools, Role};
use fnv::{FnvHashMap, FnvHashSet};

impl View {
    /// Replaces all pools.
    pub(super) fn set_pools(&mut self, pools: &Pools) -> Applied {
        let listed = pools.pools.get(..POOLS_MAX).unwrap_or(&pools.pools);
        let mut is_cut = listed.len() < pools.pools.len();
        // Remove endpoints first, so that their slots are free for new ones.
        let kept: FnvHashSet<EndpointId> = listed.iter().flat_map(ids).collect();
        for slot in self.slots_but(|endpoint| kept.contains(&endpoint.id)) {
            self.drop_slot(slot);
        }
        let mut next = Vec::with_capacity(listed.len());
        let mut empty = 0;
        for pool in listed {
            let slots = self.take_members(pool, &mut empty, &mut is_cut);
            let old = self.pools.iter().find(|old| old.name() == pool.name);
            next.push(Pool::new(pool, &slots, old));
        }
        self.pools = next;
        self.admissions.set(&self.pools, self.seed);
        self.has_shared_names = self.shares_names();
        self.resize_all();
        if is_cut { Applied::Cut } else { Applied::Changed }
    }

    /// Replaces one pool. The others, and what is known of endpoints that stay, remain as they are.
    pub(super) fn set_pool(&mut self, pool: &wire::Pool) -> Applied {
        let Some(at) = self.pools.iter().position(|old| old.name() == pool.name) else {
            return Applied::Unknown;
        };
        let kept: FnvHashSet<EndpointId> = ids(pool).collect();
        let others = || self.pools.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, pool)| pool);
        let old = self.pools.get(at).map(|old| old.slots().to_vec()).unwrap_or_default();
        let is_stale = |slot: &Slot| {
            let is_kept = self.endpoint(*slot).is_some_and(|endpoint| kept.contains(&endpoint.id));
            !is_kept && !others().any(|other| other.has(*slot))
        };
        let stale: Vec<Slot> = old.into_iter().filter(is_stale).collect();
        for slot in stale {
            self.drop_slot(slot);
        }
        let mut is_cut = false;
        let slots = self.take_members(pool, &mut 0, &mut is_cut);
        if let Some(old) = self.pools.get_mut(at) {
            *old = Pool::new(pool, &slots, Some(old));
        }
        self.admissions.set(&self.pools, self.seed);
        self.has_shared_names = self.shares_names();
        self.resize_all();
        if is_cut { Applied::Cut } else { Applied::Changed }
    }

    fn shares_names(&self) -> bool {
        let mut seen = FnvHashMap::default();
        let mut names =
            self.pools.iter().enumerate().flat_map(|(at, pool)| pool.names().map(move |name| (name, at)));
        names.any(|(name, at)| seen.insert(name, at).is_some_and(|other| other != at))
    }

    /// The slots of a pool's endpoints, opened where need be, with their roles.
    fn take_members(&mut self, pool: &wire::Pool, empty: &mut usize, is_cut: &mut bool) -> Vec<(Slot, Role)> {
        let mut slots = Vec::with_capacity(pool.endpoints.len());
        for endpoint in &pool.endpoints {
            let slot = self.slot_for(&endpoint.address, empty);
            *is_cut |= slot.is_none();
            if let Some(slot) = slot {
                self.identify(slot, endpoint);
                slots.push((slot, endpoint.role()));
            }
        }
        slots
    }

    /// Updates the identity of what runs at an endpoint's address. After a change, nothing that was known holds.
    fn identify(&mut self, slot: Slot, listed: &PoolEndpoint) {
        let Some(endpoint) = self.endpoints.get_mut(slot.index()).and_then(Option::as_mut) else { return };
        let (before, after) = (endpoint.identity, listed.identity);
        let is_another = before != 0 && after != 0 && before != after;
        if is_another {
            *endpoint = Endpoint::new(listed.address.clone(), self.seed);
        }
        endpoint.role = listed.role();
        endpoint.engine.clone_from(&listed.engine);
        endpoint.identity = if after == 0 { before } else { after };
        if is_another {
            self.prefixes.forget(slot);
            self.reported.forget(slot);
            self.expected.forget(slot);
            self.admissions.forget(EndpointId::of(&listed.address));
        }
    }

    /// The slot of an address, opened if need be; no place before `empty` is. `None`: the view is full.
    fn slot_for(&mut self, address: &str, empty: &mut usize) -> Option<Slot> {
        let endpoint = Endpoint::new(address.to_owned(), self.seed);
        if let Some(slot) = self.slot(endpoint.id) {
            return Some(slot);
        }
        while self.endpoints.get(*empty).is_some_and(Option::is_some) {
            *empty += 1;
        }
        let slot = Slot(u16::try_from(*empty).ok().filter(|_| *empty < ENDPOINTS_MAX)?);
        self.slots.insert(endpoint.id, slot);
        match self.endpoints.get_mut(*empty) {
            Some(place) => *place = Some(endpoint),
            None => self.endpoints.push(Some(endpoint)),
        }
        Some(slot)
    }

    fn slots_but(&self, is_kept: impl Fn(&Endpoint) -> bool) -> Vec<Slot> {
        self.endpoints().filter(|(_, endpoint)| !is_kept(endpoint)).map(|(slot, _)| slot).collect()
    }

    /// Forgets an endpoint.
    fn drop_slot(&mut self, slot: Slot) {
        if let Some(endpoint) = self.endpoints.get_mut(slot.index()).and_then(Option::take) {
            self.slots.remove(&endpoint.id);
            self.admissions.forget(endpoint.id);
            self.prefixes.forget(slot);
            self.reported.forget(slot);
            self.expected.forget(slot);
        }
    }

    /// Gives every endpoint of every pool the cells that its capacity makes at the pool's ratio.
    fn resize_all(&mut self) {
        self.share_memory();
        for at in 0..self.pools.len() {
            self.resize_pool(at);
        }
    }

    /// Leaves learned prefixes the memory that reports do not take.
    pub(super) fn share_memory(&mut self) {
        let learned =
            VIEW_BYTES_MAX.saturating_sub(self.reported.bytes()).max(VIEW_BYTES_MAX - REPORTED_BYTES_MAX);
        self.prefixes.set_bytes_max(learned / self.slots.len().max(1));
    }

    pub(super) fn resize_pool(&mut self, at: usize) {
        let Some(pool) = self.pools.get_mut(at) else { return };
        let bytes_per_token = pool.note_sized();
        let slots = pool.slots().to_vec();
        for slot in slots {
            self.resize(slot, bytes_per_token);
        }
    }

    pub(super) fn resize(&mut self, slot: Slot, bytes_per_token: f64) {
        let Some(endpoint) = self.endpoint(slot) else { return };
        let cells = float(endpoint.cache_tokens()) * bytes_per_token / float_len(self.cell_bytes);
        let share = CELLS_PER_VIEW_MAX / self.slots.len().max(1);
        self.prefixes.set_capacity(slot, usize::try_from(count(cells)).unwrap_or(usize::MAX).min(share));
    }

    pub(super) fn bytes_per_token_of(&self, slot: Slot) -> f64 {
        let pool = self.pools.iter().find(|pool| pool.has(slot));
        pool.map_or(crate::limits::BYTES_PER_TOKEN_DEFAULT, Pool::held_bytes_per_token)
    }
}

fn ids(pool: &wire::Pool) -> impl Iterator<Item = EndpointId> {
    pool.endpoints.iter().map(|endpoint| EndpointId::of(&endpoint.address))
}
