//! The view: the prefixes that each endpoint holds and the load that it has, as known to one VM or to the controller.
//!
//! It is a value: events go in ([`View::apply`]), a choice reads it ([`crate::routing`]), a snapshot comes out
//! ([`View::export`]). Every VM has its own; they agree because they apply the same events.

mod adapters;
mod admissions;
mod arrivals;
mod cluster;
mod discovered;
mod drain;
mod endpoint;
mod expected;
mod export;
mod matched;
mod members;
mod outcomes;
mod paced;
mod pool;
mod prefixes;
mod reported;
mod speed;
mod stored;
mod transfers;
mod turn;
mod wake;

pub use adapters::Adapters;
pub use arrivals::{Arrivals, Arrived};
pub use cluster::EVERY_POOL_CLUSTER;
pub(crate) use cluster::stands_for;
pub use endpoint::{Endpoint, Fitness, InFlight};
pub use expected::REPORT_MS_MAX;
pub use matched::Match;
pub use pool::{ANY_MODEL, Leg, ModelMatch, Pool};
pub use prefixes::{Holder, Prefixes, Visit};
pub use reported::Reported;
pub use speed::Speed;
pub use transfers::Transfers;
pub use turn::Turn;
pub use wake::Wake;

use crate::hash::{SeededMap, seeded};
use crate::ids::{AdapterId, CellHash, EndpointId, OriginId, ProcessId, RequestKey, ResponseId, Slot};
use crate::limits::{CELL_BYTES_DEFAULT, CELL_BYTES_MAX, CELL_BYTES_MIN, CELLS_PER_PROMPT_MAX, PROXIES_MAX};
use crate::share::pick;
use crate::time::Timestamp;
use crate::wire::{
    EngineStatus, Event, Kind, Outcome, OutcomeClass, Prefix, Proxies, Role, Routed, TransferSeen, Trust,
    UsageSeen,
};
use admissions::Admissions;
use discovered::OpenPools;
use endpoint::Judgement;
use expected::Expected;
use fnv::FnvHashMap;
use stored::Stored;

/// How long the controller's statuses are believed after its last sign of life, in milliseconds: five of those.
const STATUS_MS_MAX: u64 = 5_000;

/// See the module.
#[derive(Clone, Debug)]
pub struct View {
    cell_bytes: usize,
    seed: u64,
    pools: Vec<Pool>,
    /// The gates of those pools whose requests are held.
    admissions: Admissions,
    endpoints: Vec<Option<Endpoint>>,
    slots: FnvHashMap<EndpointId, Slot>,
    prefixes: Prefixes,
    /// What engines say that they hold: it counts instead of `prefixes` where it can be relied on.
    reported: Reported,
    /// What requests in flight will add to either.
    expected: Expected,
    stored: Stored,
    /// The pools whose endpoints nobody has named; `None` once a controller has named pools.
    open_pools: Option<OpenPools>,
    /// The time of the controller's last sign of life; `None` until the first.
    statuses_at: Option<Timestamp>,
    /// The time of each origin's last event.
    origins: SeededMap<OriginId, Timestamp>,
    chain: Vec<CellHash>,
    /// The proxy process whose view this is; `None` where it is no proxy's.
    process: Option<ProcessId>,
    /// The proxies that route, as in [`Kind::Proxies`].
    proxies: Vec<ProcessId>,
    turn: Turn,
    /// Whether several pools serve a model of the same name.
    has_shared_names: bool,
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
            admissions: Admissions::default(),
            endpoints: Vec::new(),
            slots: FnvHashMap::default(),
            prefixes: Prefixes::new(seed),
            reported: Reported::new(seed),
            expected: Expected::new(seed),
            stored: Stored::new(seed),
            open_pools: Some(OpenPools::default()),
            statuses_at: None,
            origins: SeededMap::with_hasher(seeded(seed)),
            chain: Vec::new(),
            process: None,
            proxies: Vec::new(),
            turn: Turn::default(),
            has_shared_names: false,
        }
    }

    /// Applies one event, received at `now` on any clock that the owner of this view always uses.
    pub fn apply(&mut self, event: &Event, now: Timestamp) -> Applied {
        self.expected.settle(now);
        match &event.kind {
            None => Applied::Unsupported,
            Some(Kind::Pools(pools)) => {
                self.open_pools = None;
                self.take_list(pools, now)
            }
            Some(Kind::Pool(pool)) => self.set_pool(pool),
            Some(Kind::EngineStatus(status)) => self.set_status(status),
            Some(Kind::Routed(routed)) => self.expect(routed, now),
            Some(Kind::InFlight(report)) => {
                self.origins.insert(OriginId(report.origin), now);
                self.on_endpoint(report.endpoint, |endpoint| endpoint.set_in_flight(report, now))
            }
            Some(Kind::Outcome(outcome)) => self.judge(outcome, now),
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
            Some(Kind::TransferSeen(seen)) => self.learn_transfer(seen),
            Some(Kind::Ended(ended)) => self.end_turn(ended, now),
            Some(Kind::Held(held)) => self.hold(held, now),
            Some(Kind::Released(released)) => self.release(released),
            Some(Kind::Conversation(conversation)) => self.restore_conversation(conversation, now),
            Some(Kind::Reported(reported)) => self.report(reported),
            Some(Kind::Reporting(reporting)) => self.set_trust(reporting),
            Some(Kind::WakeTime(wake)) => self.set_wake(wake, now),
            Some(Kind::Proxies(proxies)) => self.set_proxies(proxies),
            Some(Kind::Current(_)) => {
                self.statuses_at = Some(now);
                self.note_silence();
                Applied::Changed
            }
            Some(Kind::Stored(stored)) => {
                let endpoint = EndpointId(stored.endpoint);
                if self.slot(endpoint).is_none() {
                    return Applied::Unknown;
                }
                self.stored.add(ResponseId(stored.response), endpoint);
                Applied::Changed
            }
        }
    }

    /// Names the proxy process whose view this is, so that it finds its turn among [`Kind::Proxies`].
    pub fn set_process(&mut self, process: ProcessId) {
        self.process = Some(process);
        self.take_turn();
        self.note_silence();
    }

    /// This proxy's turn among those that route; always, until it is listed among others.
    pub fn turn(&self) -> Turn {
        self.turn
    }

    /// Whether other proxies route, too.
    pub fn has_peers(&self) -> bool {
        self.proxies.iter().any(|process| Some(*process) != self.process)
    }

    /// Drops what is too old to believe: the shares of origins that fell silent, and the statuses of a controller that did.
    /// Call it about once a second.
    pub fn expire(&mut self, now: Timestamp) -> Vec<OriginId> {
        if self.statuses_at.is_some_and(|at| now.ms_apart(at) > STATUS_MS_MAX) {
            self.statuses_at = None;
            for endpoint in self.endpoints.iter_mut().flatten() {
                endpoint.expire_status();
            }
        }
        self.note_silence();
        self.expected.expire(now);
        self.reported.sweep();
        self.share_memory();
        self.expire_gates(now);
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

    /// The pools that serve `model`, each with the adapter if the name is one: the pools that name it, else those that take any.
    pub fn pools_for<'a>(&'a self, model: &'a str) -> impl Iterator<Item = ModelMatch<'a>> + Clone {
        let is_named = self.pools.iter().any(|pool| pool.matches(model).is_some());
        self.pools.iter().filter_map(
            move |pool| {
                if is_named { pool.matches(model) } else { pool.takes_any(model) }
            },
        )
    }

    /// Whether a pool's engines pass KV on, so that requests may be split.
    pub fn has_split_pools(&self) -> bool {
        self.pools.iter().any(|pool| pool.transfer().is_some())
    }

    /// Whether several pools serve a model, so that a request for it may need [`Self::pool_for`]'s `cluster`.
    pub fn has_shared_names(&self) -> bool {
        self.has_shared_names
    }

    /// The pool for a request that names `model`. Of several that serve it, the one that the route's `cluster` stands for, because
    /// the proxy ignores endpoints of others. Without such a cluster, they share its conversations by weight, and a pool whose
    /// endpoints all fail gets none while another serves; `conversation` is a number that all turns share. `None`: no pool serves
    /// the model.
    pub fn pool_for<'a>(
        &'a self,
        model: &'a str,
        (cluster, now): (Option<&str>, Timestamp),
        conversation: impl FnOnce() -> u64,
    ) -> Option<ModelMatch<'a>> {
        let mut found = self.pools_for(model);
        if !self.has_shared_names {
            return found.next();
        }
        let others = found.clone().skip(1).count();
        if others == 0 {
            return found.next();
        }
        let drawn =
            cluster.and_then(|cluster| found.clone().find(|found| stands_for(cluster, found.pool.name())));
        if drawn.is_some() {
            return drawn;
        }
        let weight = |pool: &Pool| {
            let is_fit =
                |slot: &Slot| self.endpoint(*slot).is_some_and(|one| one.fitness(now) == Fitness::Fit);
            if pool.taking(Leg::Whole).iter().any(is_fit) { pool.weight() } else { 0 }
        };
        pick(conversation(), found.map(|found| (found, found.pool.name(), weight(found.pool))))
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

    /// The endpoint that keeps a stored response, if it is still in a pool.
    pub fn keeper(&self, response: ResponseId) -> Option<Slot> {
        self.slot(self.stored.endpoint(response)?)
    }

    /// The prefix tree.
    pub fn prefixes(&self) -> &Prefixes {
        &self.prefixes
    }

    /// Bytes of text in a cell.
    pub fn cell_bytes(&self) -> usize {
        self.cell_bytes
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
        let cache_tokens = endpoint.cache_tokens();
        let has_restarted = endpoint.set_status(status);
        let has_resized = endpoint.cache_tokens() != cache_tokens;
        if has_restarted {
            self.prefixes.forget(slot);
            self.admissions.forget(EndpointId(status.endpoint));
        }
        if has_resized {
            self.resize(slot, self.bytes_per_token_of(slot));
        }
        Applied::Changed
    }

    /// A request was sent: its cells are expected, or learned where no outcome will follow.
    fn expect(&mut self, routed: &Routed, now: Timestamp) -> Applied {
        let Some(slot) = self.slot(EndpointId(routed.endpoint)) else { return Applied::Unknown };
        let cells = routed.cells.iter().take(CELLS_PER_PROMPT_MAX).map(|cell| CellHash(*cell));
        let is_cut = routed.cells.len() > CELLS_PER_PROMPT_MAX;
        self.begin_turn(routed, now);
        let has_room = if routed.request == 0 {
            self.chain.clear();
            self.chain.extend(cells);
            self.prefixes.learn(slot, &self.chain, now);
            true
        } else {
            let key = RequestKey { origin: OriginId(routed.origin), request: routed.request };
            self.expected.add(key, (slot, AdapterId(routed.adapter)), cells.collect(), now)
        };
        if is_cut || !has_room { Applied::Cut } else { Applied::Changed }
    }

    /// A request came to something: learns its cells or drops them, and judges the endpoint.
    fn judge(&mut self, outcome: &Outcome, now: Timestamp) -> Applied {
        if outcome.request != 0 {
            let key = RequestKey { origin: OriginId(outcome.origin), request: outcome.request };
            // It may be expected elsewhere by now, where Envoy sent it next: then this is about the attempt before.
            let is_here = self.expected.slot(key) == self.slot(EndpointId(outcome.endpoint));
            if is_here && outcome.class() == OutcomeClass::Served {
                let adapter = self.expected.adapter(key);
                if let Some((slot, chain)) = self.expected.get(key) {
                    self.prefixes.learn(slot, chain, now);
                    if let Some(endpoint) = self.endpoints.get_mut(slot.index()).and_then(Option::as_mut) {
                        endpoint.adapters.serve(adapter, now);
                    }
                    // Its engine is yet to report it.
                    let is_kept = self.reported.trust(slot) != Trust::None;
                    self.expected.serve(key, is_kept.then_some(now));
                }
            } else if is_here {
                self.expected.take(key);
            }
        }
        let Some(slot) = self.slot(EndpointId(outcome.endpoint)) else { return Applied::Unknown };
        let Some(endpoint) = self.endpoints.get_mut(slot.index()).and_then(Option::as_mut) else {
            return Applied::Unknown;
        };
        if endpoint.take_outcome(outcome, now) == Judgement::Compare && self.is_own_fault(slot, outcome, now)
        {
            self.on_endpoint(outcome.endpoint, |endpoint| endpoint.fail_by_fault(now));
        }
        Applied::Changed
    }

    /// Whether a request that was sent to an endpoint at `sent` has no first token though later ones have theirs, there or at others
    /// that do the same work. Where none has, all are full, and it waits like the others.
    pub fn is_stuck(&self, endpoint: EndpointId, sent: Timestamp) -> bool {
        let Some(slot) = self.slot(endpoint) else { return true };
        self.endpoint(slot).is_some_and(|endpoint| endpoint.has_proved(sent))
            || self.peers(slot).any(|other| other.has_proved(sent))
    }

    /// The other endpoints of an endpoint's pool that take the same leg as it does.
    fn peers(&self, slot: Slot) -> impl Iterator<Item = &Endpoint> {
        let role = self.endpoint(slot).map_or(Role::Both, |endpoint| endpoint.role);
        let does_the_same =
            move |other: &&Endpoint| other.role == role || [role, other.role].contains(&Role::Both);
        let pool = self.pools.iter().find(|pool| pool.has(slot));
        let others = pool.into_iter().flat_map(Pool::slots).filter(move |other| **other != slot);
        others.filter_map(|other| self.endpoint(*other)).filter(does_the_same)
    }

    /// Whether what happened at an endpoint does not happen at the others that do the same work.
    fn is_own_fault(&self, slot: Slot, outcome: &Outcome, now: Timestamp) -> bool {
        let Some(endpoint) = self.endpoint(slot) else { return false };
        let others = || self.peers(slot);
        let sent = now.minus_ms(outcome.age_ms);
        match outcome.class() {
            // One that has given any request its first token since is full, and not hung.
            OutcomeClass::Silent => {
                !endpoint.has_served_since(sent) && others().any(|other| other.has_proved(sent))
            }
            _ => endpoint.outcomes().is_worse(others().map(Endpoint::outcomes), now),
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
        self.on_endpoint(usage.endpoint, |endpoint| endpoint.learn_usage(usage));
        Applied::Changed
    }

    fn learn_transfer(&mut self, seen: &TransferSeen) -> Applied {
        let (prefill, decode) = (EndpointId(seen.prefill), EndpointId(seen.decode));
        let slots = self.slot(prefill).zip(self.slot(decode));
        let pool = slots.and_then(|(prefill, decode)| {
            self.pools.iter_mut().find(|pool| pool.has(prefill) && pool.has(decode))
        });
        let Some(pool) = pool else { return Applied::Unknown };
        pool.learn_transfer((prefill, decode), seen.tokens, seen.us);
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
        self.expected.drop_origin(origin);
        self.admissions.drop_origin(origin);
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
