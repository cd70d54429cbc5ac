//! The router: everything that one VM of a proxy decides, without the VM.
//!
//! ```text
//!               ┌──────────────────────────── Router ────────────────────────────┐
//!  request ───► │ exchange ─► route (prompt, query, choose) ─► headers, booking   │ ───► Output
//!  response ──► │    │ ledger                      ▲ view                         │
//!               │    ▼                             │                              │
//!  tick ──────► │ siblings ── log ── SharedMap ────┘                              │
//!  uplink ────► │ uplink (lease) ── outbox                                        │
//!               └────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Sans-IO: [`Input`]s go in, [`Output`]s come out, and the shell around it (a proxy-wasm filter, the simulator, a
//! property test) performs them. The clock is an argument and randomness a seed; shared data, which a decision reads and
//! writes in its middle, is a trait. Generic, not `dyn`: in the filter every call is a direct one.
//!
//! One router belongs to one VM and serves all its plugins, so that a reconfigured plugin keeps the state of its VM.

mod body;
mod checkpoint;
mod clock;
mod exchange;
mod head;
mod hold;
mod io;
mod lease;
mod ledger;
mod legs;
mod line;
mod log;
mod metrics;
mod models;
mod outbox;
mod pace;
mod planned;
mod reasons;
mod reply;
mod response;
mod route;
mod sampling;
mod shared;
mod siblings;
mod status;
mod uplink;
mod withheld;

pub use clock::Clock;
pub use head::{
    DECISION_HEADER, DESTINATION_HEADER, EXPLAIN_HEADER, EXPLAIN_TOKEN_HEADER, MODEL_HEADER, TARGET_HEADER,
};
pub use io::{
    Call, CallId, Called, ExchangeId, Headers, Input, Notice, Output, PluginId, Prompt, Reply, UplinkId,
    Watch,
};
pub use ledger::{Booking, FirstTokenTime, Ledger};
pub use metrics::{Counter, Gauge, Histogram};
pub use reasons::Unread;
pub use shared::{Conflict, LocalMap, SharedMap, Stored, Version};

use crate::config::Config;
use crate::cost::Weights;
use crate::ids::OriginId;
use crate::time::Timestamp;
use crate::view::View;
use crate::wire::Record;
use checkpoint::Checkpoint;
use exchange::Exchange;
use fnv::FnvHashMap;
use hold::Holds;
use lease::Lease;
use log::{Log, Shape};
use outbox::Outbox;
use sampling::UsageSampling;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use uplink::Uplink;
use withheld::{Bodies, Waiting};

const LEASE_KEY: &str = "warmpath/1/lease";
const RESUME_KEY: &str = "warmpath/1/resume";

/// See the module.
#[derive(Debug)]
pub struct Router<S> {
    shared: S,
    view: View,
    ledger: Ledger,
    log: Log,
    uplink: Uplink,
    outbox: Outbox,
    checkpoint: Checkpoint,
    /// Events that are applied here and pending for the log.
    pending: Vec<Record>,
    /// The shell's numbers are dense and not chosen by clients: no seed is needed.
    exchanges: FnvHashMap<ExchangeId, Exchange>,
    /// Those of them that are held.
    holds: Holds,
    /// Calls so far.
    calls: u32,
    /// The prefill legs that run beside their requests.
    companions: FnvHashMap<ExchangeId, legs::Leg>,
    /// Bookings of calls whose requests are gone, with the times at which their prompts should be computed.
    abandoned: Vec<(Timestamp, ledger::Booking)>,
    /// The pools whose prefill engines hand nothing over.
    handovers: legs::Handovers,
    /// What is kept of requests that may have to be served once more.
    kept_bytes: legs::KeptBytes,
    /// Those that are paused and have seen nothing of their bodies.
    waiting: FnvHashMap<ExchangeId, Waiting>,
    /// Those that the last tick has resumed, with the bytes of their bodies that were withheld from them.
    resumed: Vec<(ExchangeId, PluginId, u64)>,
    /// When the prefills of requests without a first token are over by the model, the next one first.
    prefills: BinaryHeap<Reverse<(Timestamp, ExchangeId)>>,
    /// Oldest first; the pools of the newest one apply unless a controller has published others.
    plugins: Vec<Plugin>,
    sampling: UsageSampling,
    weights: Weights,
    flushed_at: Timestamp,
    alive_at: Timestamp,
    /// When this VM was last busy, see [`pace::BUSY_MS`].
    busy_at: Timestamp,
    random: u64,
}

#[derive(Debug)]
struct Plugin {
    id: PluginId,
    config: Rc<Config>,
    node: String,
    tick_ms: u64,
    bodies: Bodies,
}

// === impl Router ===

impl<S: SharedMap> Router<S> {
    /// A router over cells of `cell_bytes`, without plugins. `seed` is 64 random bits that no other router has: they name
    /// it among its siblings and decide between equals.
    pub fn new(mut shared: S, cell_bytes: usize, seed: u64) -> Self {
        let origin = OriginId(seed | 1);
        Self {
            view: View::new(cell_bytes, seed.rotate_left(32)),
            ledger: Ledger::new(origin),
            log: Log::open(&mut shared, cell_bytes, Shape::default()),
            shared,
            uplink: Uplink::new(Lease::new(origin)),
            outbox: Outbox::default(),
            checkpoint: Checkpoint::default(),
            pending: Vec::new(),
            exchanges: FnvHashMap::default(),
            holds: Holds::default(),
            calls: 0,
            companions: FnvHashMap::default(),
            abandoned: Vec::new(),
            handovers: legs::Handovers::default(),
            kept_bytes: legs::KeptBytes::default(),
            waiting: FnvHashMap::default(),
            resumed: Vec::new(),
            prefills: BinaryHeap::new(),
            plugins: Vec::new(),
            sampling: UsageSampling::default(),
            weights: Weights::default(),
            flushed_at: Timestamp::default(),
            alive_at: Timestamp::default(),
            busy_at: Timestamp::default(),
            random: seed | 1,
        }
    }

    /// The same with other weights in the cost: without a term, to see what it earns.
    #[must_use]
    pub fn with_weights(mut self, weights: Weights) -> Self {
        self.weights = weights;
        self
    }

    /// Takes one input at the time that `clock` shows; what is to be done is appended to `out`, in order.
    pub fn handle(&mut self, clock: &impl Clock, input: Input<'_>, out: &mut Vec<Output>) {
        match input {
            Input::Configure { plugin, config, node } => {
                self.configure(clock.now(), plugin, (config, node), out);
            }
            Input::Retire { plugin } => self.retire(clock.now(), plugin, out),
            Input::Tick { plugin } => self.tick(clock, plugin, out),
            Input::RequestHead { exchange, plugin, headers, cluster, ends } => {
                self.request_head(clock, exchange, plugin, (headers, cluster, ends), out);
            }
            Input::RequestData { exchange, buffered_bytes, ends } => {
                self.request_data(clock, exchange, (buffered_bytes, ends), out);
            }
            Input::RequestPiece { exchange, piece, ends } => {
                self.request_piece(clock, exchange, (piece, ends), out);
            }
            Input::RequestBody { exchange, body } => self.request_body(clock, exchange, body, out),
            Input::Probed { exchange, received_bytes } => {
                self.probed(clock, (exchange, received_bytes), out);
            }
            Input::Called { exchange, call, response } => {
                self.called(clock, (exchange, call), response, out);
            }
            Input::RequestPrompt { exchange, plugin, prompt } => {
                self.request_prompt(clock, exchange, plugin, prompt, out);
            }
            Input::ResponseHead { exchange, status, headers, served_by, ends } => {
                self.response_head(clock, exchange, (status, headers), (served_by, ends), out);
            }
            Input::Attempts { attempts, failed } => self.attempts(clock, attempts, failed, out),
            Input::ResponseChunk { exchange, bytes, tail, ends } => {
                self.response_chunk(clock, exchange, (bytes, tail, ends), out);
            }
            Input::Ended { exchange } => self.ended(clock, exchange, out),
            Input::UplinkOpened { uplink } => self.uplink_opened(uplink, clock.now(), out),
            Input::UplinkMessage { uplink, message } => {
                self.uplink_message(uplink, message, clock.now(), out);
            }
            Input::UplinkClosed { uplink } => self.uplink_closed(uplink, clock.now(), out),
        }
    }

    /// The view of this VM.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Whether [`Input::RequestHead`] needs the cluster of the route: it decides where several pools serve a model, and prefill legs
    /// take it.
    pub fn reads_cluster(&self) -> bool {
        self.view.has_shared_names() || self.view.has_split_pools()
    }

    /// The bookings of this VM.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Whether this VM is the one of its process that talks to the controller.
    pub fn holds_lease(&self) -> bool {
        self.uplink.lease.is_held()
    }

    /// Takes over a configuration: its pools, unless a controller has published others.
    fn configure(
        &mut self,
        now: Timestamp,
        id: PluginId,
        (config, node): (Config, String),
        out: &mut Vec<Output>,
    ) {
        let config = Rc::new(config);
        let tick_ms = pace::TICK_MS_UPLINK;
        let bodies = Bodies::default();
        let plugin = Plugin { id, config: Rc::clone(&config), node, tick_ms, bodies };
        out.push(Output::WakeIn(plugin.tick_ms));
        self.plugins.push(plugin);
        self.assign_uplink(now, out);
        if !self.load_endpoints(now, out) {
            self.view.assume(&config.pools);
        }
        if self.plugins.len() == 1 {
            // What comes before the ring's oldest page is in the checkpoint, and what that reaches need not be read again.
            self.miss_log(now);
            self.load_checkpoint(now, out);
        }
        // The log may contain events about these endpoints.
        self.read_log(now, out);
    }

    fn retire(&mut self, now: Timestamp, plugin: PluginId, out: &mut Vec<Output>) {
        self.plugins.retain(|other| other.id != plugin);
        self.assign_uplink(now, out);
        self.cancel_superseded(plugin, out);
    }

    fn tick(&mut self, clock: &impl Clock, id: PluginId, out: &mut Vec<Output>) {
        let now = clock.now();
        self.settle_resumed();
        self.cancel_superseded(id, out);
        self.end_prefills(now, out);
        self.end_abandoned(now, out);
        self.keep_house(id, now, out);
        self.read_log(now, out);
        self.probe_waiting(now, id, out);
        self.tend_held(clock, id, out);
        self.flush(now, out);
        self.tend_checkpoint(now, out);
        self.store_resume_point();
        if self.uplink.plugin() == Some(id) {
            self.tend_uplink(now, out);
        }
        let is_busy = now.ms_apart(self.busy_at) < pace::BUSY_MS;
        let is_hasty = self.hastens_ticks(id);
        let tick_ms = pace::tick_ms(self.uplink.link(self.view.has_peers()), is_busy, is_hasty);
        let tick_ms = tick_ms.min(self.held_tick_ms());
        if let Some(plugin) = self.plugin_mut(id)
            && std::mem::replace(&mut plugin.tick_ms, tick_ms) != tick_ms
        {
            out.push(Output::WakeIn(tick_ms));
        }
    }

    fn config_of(&self, id: PluginId) -> Option<Rc<Config>> {
        self.plugins.iter().find(|plugin| plugin.id == id).map(|plugin| Rc::clone(&plugin.config))
    }

    fn plugin_mut(&mut self, id: PluginId) -> Option<&mut Plugin> {
        self.plugins.iter_mut().find(|plugin| plugin.id == id)
    }

    /// Has the next tick come as soon as this, because a client is waiting: that of an idle VM would be late.
    fn hasten(&mut self, id: PluginId, tick_ms: u64, out: &mut Vec<Output>) {
        if let Some(plugin) = self.plugin_mut(id)
            && plugin.tick_ms > tick_ms
        {
            plugin.tick_ms = tick_ms;
            out.push(Output::WakeIn(tick_ms));
        }
    }

    /// Whether a request must name its model to reach its pool.
    fn has_several_pools(&self) -> bool {
        self.view.pools().len() > 1
    }

    /// Whether a body that is too large for its prompt to be read is kept all the same: for its model where there are several pools,
    /// and for the fields with which it could harm engines that pass KV on.
    fn keeps_large_bodies(&self) -> bool {
        self.has_several_pools() || self.view.has_split_pools()
    }

    /// Whether pools come from a controller.
    fn follows_controller(&self) -> bool {
        self.plugins.last().is_some_and(|plugin| plugin.config.controller.is_some())
    }

    /// The name of the next call.
    fn call_id(&mut self) -> CallId {
        self.calls = self.calls.wrapping_add(1);
        CallId(self.calls)
    }

    /// Random bits, never the same twice in a row.
    fn random(&mut self) -> u64 {
        // Xorshift64 (Marsaglia 2003): whoever needs them spread mixes them further.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}
