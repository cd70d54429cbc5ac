//! The view: the prefixes that each endpoint holds and the load that it has, as known to one VM or to the controller.
//!
//! It is a value: events go in ([`View::apply`]), a choice reads it ([`crate::routing`]), a snapshot comes out
//! ([`View::export`]). Every VM has its own; they agree because they apply the same events.

mod arrivals;
mod drain;
mod endpoint;
mod export;
mod pool;
mod prefixes;
mod speed;
mod turn;

pub use arrivals::{Arrivals, Arrived};
pub use endpoint::{Endpoint, Fitness, InFlight};
pub use pool::{ModelMatch, Pool};
pub use prefixes::{Holder, Match, Prefixes, Visit};
pub use speed::Speed;
pub use turn::Turn;

use crate::cost::PrefillWork;
use crate::hash::{SeededMap, seeded};
use crate::ids::{CellHash, EndpointId, OriginId, ProcessId, Slot};
use crate::limits::{
    CELL_BYTES_DEFAULT, CELL_BYTES_MAX, CELL_BYTES_MIN, CELLS_PER_PROMPT_MAX, CELLS_PER_VIEW_MAX,
    ENDPOINTS_MAX, POOLS_MAX, PROXIES_MAX,
};
use crate::num::{count, float, float_len};
use crate::time::Timestamp;
use crate::wire::{EngineStatus, Event, Health, Kind, Pools, Prefix, Proxies, UsageSeen};
use fnv::{FnvHashMap, FnvHashSet};

/// See the module.
#[derive(Clone, Debug)]
pub struct View {
    cell_bytes: usize,
    seed: u64,
    pools: Vec<Pool>,
    endpoints: Vec<Option<Endpoint>>,
    slots: FnvHashMap<EndpointId, Slot>,
    prefixes: Prefixes,
    /// The time of each origin's last event.
    origins: SeededMap<OriginId, Timestamp>,
    chain: Vec<CellHash>,
    /// The proxy process whose view this is; `None` where it is no proxy's.
    process: Option<ProcessId>,
    /// The proxies that route, as in [`Kind::Proxies`].
    proxies: Vec<ProcessId>,
    turn: Turn,
}

/// The effect of an event on a view; anything but [`Applied::Changed`] is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The view changed, or already contained the event.
    Changed,
    /// The event names an endpoint or a pool that this view does not have.
    Unknown,
    /// The event is of a kind that this version does not know.
    Unsupported,
    /// The event is beyond a limit and was cut to it.
    Cut,
    /// The event is a prefix that continues another one: nothing was learned. A stream's prefixes come through its
    /// [`crate::wire::PrefixDecoder`].
    Detached,
}

// === impl View ===

impl Default for View {
    fn default() -> Self {
        Self::new(CELL_BYTES_DEFAULT, 0)
    }
}

impl View {
    /// An empty view over cells of `cell_bytes` bytes of text, within the limits of that. `seed` is random bits that no
    /// client knows: hashes of client input use it.
    pub fn new(cell_bytes: usize, seed: u64) -> Self {
        Self {
            cell_bytes: cell_bytes.clamp(CELL_BYTES_MIN, CELL_BYTES_MAX),
            seed,
            pools: Vec::new(),
            endpoints: Vec::new(),
            slots: FnvHashMap::default(),
            prefixes: Prefixes::new(seed),
            origins: SeededMap::with_hasher(seeded(seed)),
            chain: Vec::new(),
            process: None,
            proxies: Vec::new(),
            turn: Turn::default(),
        }
    }

    /// Applies one event, received at `now` on any clock that the owner of this view always uses.
    pub fn apply(&mut self, event: &Event, now: Timestamp) -> Applied {
        match &event.kind {
            None => Applied::Unsupported,
            Some(Kind::Pools(pools)) => self.set_pools(pools),
            Some(Kind::EngineStatus(status)) => self.set_status(status),
            Some(Kind::Routed(routed)) => {
                let Some(slot) = self.slot(EndpointId(routed.endpoint)) else { return Applied::Unknown };
                self.chain.clear();
                self.chain.extend(routed.cells.iter().take(CELLS_PER_PROMPT_MAX).map(|cell| CellHash(*cell)));
                self.prefixes.learn(slot, &self.chain, now);
                if routed.cells.len() > CELLS_PER_PROMPT_MAX { Applied::Cut } else { Applied::Changed }
            }
            Some(Kind::InFlight(report)) => {
                self.origins.insert(OriginId(report.origin), now);
                self.on_endpoint(report.endpoint, |endpoint| endpoint.set_in_flight(report, now))
            }
            Some(Kind::Observed(seen)) => {
                let work_ahead = seen.work_ahead.map(PrefillWork);
                self.on_endpoint(seen.endpoint, |endpoint| endpoint.observe(work_ahead, seen.ttft_us, now))
            }
            Some(Kind::Failure(failure)) => self.on_endpoint(failure.endpoint, |endpoint| endpoint.fail(now)),
            Some(Kind::Alive(alive)) => {
                self.origins.insert(OriginId(alive.origin), now);
                Applied::Changed
            }
            Some(Kind::Gone(gone)) => {
                self.drop_origin(OriginId(gone.origin));
                Applied::Changed
            }
            Some(Kind::Prefix(prefix)) => self.learn_prefix(prefix, now),
            Some(Kind::UsageSeen(usage)) => self.learn_usage(usage),
            Some(Kind::Proxies(proxies)) => self.set_proxies(proxies),
        }
    }

    /// Names the proxy process whose view this is, so that it finds its turn among [`Kind::Proxies`].
    pub fn set_process(&mut self, process: ProcessId) {
        self.process = Some(process);
        self.take_turn();
    }

    /// This proxy's turn among those that route; always, until it is listed among others.
    pub fn turn(&self) -> Turn {
        self.turn
    }

    /// Whether other proxies route, too.
    pub fn has_peers(&self) -> bool {
        self.proxies.iter().any(|process| Some(*process) != self.process)
    }

    /// Drops the shares of origins that fell silent. Call it about once a second.
    pub fn expire(&mut self, now: Timestamp) -> Vec<OriginId> {
        let silent: Vec<OriginId> = self
            .origins
            .iter()
            .filter(|(_, last_event)| endpoint::is_silent(**last_event, now))
            .map(|(origin, _)| *origin)
            .collect();
        for origin in &silent {
            self.drop_origin(*origin);
        }
        silent
    }

    /// The pools, in order of preference.
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// The pool that serves `model`, and the adapter if the name is one. `None`: no pool serves it.
    pub fn pool_for<'a>(&'a self, model: &'a str) -> Option<ModelMatch<'a>> {
        let exact = self.pools.iter().find_map(|pool| pool.matches(model));
        exact.or_else(|| self.pools.iter().find_map(|pool| pool.takes_any(model)))
    }

    /// The endpoint in a slot.
    pub fn endpoint(&self, slot: Slot) -> Option<&Endpoint> {
        self.endpoints.get(slot.index()).and_then(Option::as_ref)
    }

    /// The slot of an endpoint, if it is in a pool.
    pub fn slot(&self, id: EndpointId) -> Option<Slot> {
        self.slots.get(&id).copied()
    }

    /// Every endpoint with its slot.
    pub fn endpoints(&self) -> impl Iterator<Item = (Slot, &Endpoint)> {
        (0_u16..).map(Slot).zip(&self.endpoints).filter_map(|(slot, place)| Some((slot, place.as_ref()?)))
    }

    /// The prefix tree.
    pub fn prefixes(&self) -> &Prefixes {
        &self.prefixes
    }

    /// Bytes of text in a cell.
    pub fn cell_bytes(&self) -> usize {
        self.cell_bytes
    }

    fn set_pools(&mut self, pools: &Pools) -> Applied {
        let listed = pools.pools.get(..POOLS_MAX).unwrap_or(&pools.pools);
        let mut is_cut = listed.len() < pools.pools.len();
        // Remove endpoints first, so that their slots are free for new ones.
        let kept: FnvHashSet<EndpointId> =
            listed.iter().flat_map(|pool| &pool.endpoints).map(|e| EndpointId::of(&e.address)).collect();
        self.drop_all_but(&kept);
        let mut next = Vec::with_capacity(listed.len());
        let mut empty = 0;
        for pool in listed {
            let mut slots = Vec::with_capacity(pool.endpoints.len());
            for endpoint in &pool.endpoints {
                let slot = self.slot_for(&endpoint.address, &mut empty);
                is_cut |= slot.is_none();
                slots.extend(slot);
            }
            let old = self.pools.iter().find(|old| old.name() == pool.name);
            next.push(Pool::new(pool, slots, old));
        }
        self.pools = next;
        self.resize_all();
        if is_cut { Applied::Cut } else { Applied::Changed }
    }

    fn set_proxies(&mut self, proxies: &Proxies) -> Applied {
        let listed = proxies.processes.get(..PROXIES_MAX).unwrap_or(&proxies.processes);
        self.proxies = listed.iter().map(|process| ProcessId(*process)).collect();
        self.take_turn();
        if listed.len() < proxies.processes.len() { Applied::Cut } else { Applied::Changed }
    }

    fn take_turn(&mut self) {
        let place = self.proxies.iter().position(|process| Some(*process) == self.process);
        self.turn = place.map_or_else(Turn::default, |place| Turn::new(place, self.proxies.len()));
    }

    fn set_status(&mut self, status: &EngineStatus) -> Applied {
        let Some(slot) = self.slot(EndpointId(status.endpoint)) else { return Applied::Unknown };
        let Some(endpoint) = self.endpoints.get_mut(slot.index()).and_then(Option::as_mut) else {
            return Applied::Unknown;
        };
        let was_up = endpoint.health != Health::Unhealthy;
        let cache_tokens = endpoint.cache_tokens();
        endpoint.set_status(status);
        let is_down = endpoint.health == Health::Unhealthy;
        let has_resized = endpoint.cache_tokens() != cache_tokens;
        if was_up && is_down {
            // An engine that was gone returns with a cold cache.
            self.prefixes.forget(slot);
        }
        if has_resized {
            self.resize(slot, self.bytes_per_token_of(slot));
        }
        Applied::Changed
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

    /// Gives every endpoint of every pool the cells that its capacity makes at the pool's ratio.
    fn resize_all(&mut self) {
        for at in 0..self.pools.len() {
            self.resize_pool(at);
        }
    }

    fn resize_pool(&mut self, at: usize) {
        let Some(pool) = self.pools.get_mut(at) else { return };
        let bytes_per_token = pool.note_sized();
        let slots = pool.slots().to_vec();
        for slot in slots {
            self.resize(slot, bytes_per_token);
        }
    }

    fn resize(&mut self, slot: Slot, bytes_per_token: f64) {
        let Some(endpoint) = self.endpoint(slot) else { return };
        let cells = float(endpoint.cache_tokens()) * bytes_per_token / float_len(self.cell_bytes);
        let share = CELLS_PER_VIEW_MAX / self.slots.len().max(1);
        self.prefixes.set_capacity(slot, usize::try_from(count(cells)).unwrap_or(usize::MAX).min(share));
    }

    fn bytes_per_token_of(&self, slot: Slot) -> f64 {
        let pool = self.pools.iter().find(|pool| pool.has(slot));
        pool.map_or(crate::limits::BYTES_PER_TOKEN_DEFAULT, Pool::bytes_per_token)
    }

    fn drop_all_but(&mut self, kept: &FnvHashSet<EndpointId>) {
        for (at, place) in self.endpoints.iter_mut().enumerate() {
            if let Some(endpoint) = place.take_if(|endpoint| !kept.contains(&endpoint.id))
                && let Ok(slot) = u16::try_from(at).map(Slot)
            {
                self.slots.remove(&endpoint.id);
                self.prefixes.forget(slot);
            }
        }
    }

    fn learn_usage(&mut self, usage: &UsageSeen) -> Applied {
        let Some(at) = self.pools.iter().position(|pool| pool.name() == usage.pool) else {
            return Applied::Unknown;
        };
        if let Some(pool) = self.pools.get_mut(at) {
            pool.observe(usage);
            if pool.has_drifted() {
                self.resize_pool(at);
            }
        }
        Applied::Changed
    }

    fn learn_prefix(&mut self, prefix: &Prefix, now: Timestamp) -> Applied {
        if prefix.depth > 0 {
            return Applied::Detached;
        }
        self.chain.clear();
        self.chain.extend(prefix.cells.iter().take(CELLS_PER_PROMPT_MAX).map(|cell| CellHash(*cell)));
        for (endpoint, held) in prefix.endpoints.iter().zip(&prefix.held) {
            let Some(slot) = self.slot(EndpointId(*endpoint)) else { continue };
            let held = self.chain.get(..crate::num::index(*held)).unwrap_or(&self.chain);
            self.prefixes.restore(slot, held, now);
        }
        if prefix.cells.len() > CELLS_PER_PROMPT_MAX { Applied::Cut } else { Applied::Changed }
    }

    fn drop_origin(&mut self, origin: OriginId) {
        self.origins.remove(&origin);
        for endpoint in self.endpoints.iter_mut().flatten() {
            endpoint.drop_origin(origin);
        }
    }

    fn on_endpoint(&mut self, id: u64, change: impl FnOnce(&mut Endpoint)) -> Applied {
        let slot = self.slot(EndpointId(id));
        match slot.and_then(|slot| self.endpoints.get_mut(slot.index())?.as_mut()) {
            Some(endpoint) => {
                change(endpoint);
                Applied::Changed
            }
            None => Applied::Unknown,
        }
    }
}
