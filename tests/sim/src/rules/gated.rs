//! The gate that ships, with perfect sight: what a pool's places earn before any proxy stands in between.
//!
//! ```text
//!   route ─► Admission.verdict ─┬─ open, placed, room ─► the formula, among those engines ─► Admission.sent
//!                               └─ full ─► held ─► released ─► Admission.next ─► likewise
//! ```
//!
//! Among engines with room the one is chosen that costs least by `affinity-marginal`, so that what differs from that rule is
//! the gate alone. Our own arms choose by the shipped cost, and know of each other late.

use super::{Route, Rule, affinity, marginal};
use crate::fleet::Fleet;
use crate::workload::{Job, mix};
use fnv::FnvHashMap;
use warmpath_core::admission::{Admission, Asked, Engines, HeldKey, Room, Sent, Verdict};
use warmpath_core::ids::{CellHash, ConversationId, EndpointId, OriginId, RequestKey, TenantId};
use warmpath_core::limits::CELL_BYTES_DEFAULT;
use warmpath_core::num::count;
use warmpath_core::time::Timestamp;
use warmpath_core::wire::{Held, HeldFor, Hold, Turn};
use warmpath_engine::model::TOKEN_BYTES;

const ORIGIN: OriginId = OriginId(1);
const MS_PER_S: f64 = 1_000.0;
const US_PER_S: f64 = 1e6;
/// Second 0: far from the epoch, which the core takes as "never".
const SECOND_ZERO_US: u64 = 1_000_000_000_000;
/// Tokens of a response before any has ended.
const OUTPUT_TOKENS: f64 = 256.0;
/// How much the last response counts in their mean.
const OUTPUT_SHARE: f64 = 0.02;
/// Time between two calls of `expire`, in seconds.
const EXPIRE_S: f64 = 1.0;

/// See the module.
#[derive(Debug)]
pub struct Gated {
    admission: Admission,
    /// What waits, each with the second since when.
    waiting: FnvHashMap<u64, (Job, f64)>,
    /// Tokens of the responses of those that are under way.
    under_way: FnvHashMap<u64, usize>,
    /// What follows each cell: where two chains part, both conversations begin alike.
    prefixes: FnvHashMap<CellHash, Next>,
    output_tokens: f64,
    expired_s: f64,
    turn: usize,
}

#[derive(Clone, Copy, Debug)]
enum Next {
    Cell(CellHash),
    Branch,
}

// === impl Gated ===

impl Gated {
    /// A gate whose requests wait up to so many seconds.
    pub fn new(room_s: f64) -> Self {
        let hold = Hold { room_ms_max: (room_s * MS_PER_S) as u32, ..Hold::default() };
        Self {
            admission: Admission::new(hold, 1),
            waiting: FnvHashMap::default(),
            under_way: FnvHashMap::default(),
            prefixes: FnvHashMap::default(),
            output_tokens: OUTPUT_TOKENS,
            expired_s: 0.0,
            turn: 0,
        }
    }

    fn asked(&self, job: &Job) -> Asked {
        Asked {
            conversation: self.admission.conversation(&job.cells),
            tokens: count(job.prompt_tokens as f64 + self.output_tokens),
            shared_tokens: self.shared_tokens(&job.cells),
            tenant: job.form.tenant.map_or_else(TenantId::default, TenantId::of),
            priority: 0,
        }
    }

    /// Tokens up to the last place where another chain has parted from this one.
    fn shared_tokens(&self, chain: &[CellHash]) -> u64 {
        let is_branch = |cell: &CellHash| matches!(self.prefixes.get(cell), Some(Next::Branch));
        let cells = chain.iter().rposition(is_branch).map_or(0, |at| at + 1);
        (cells * CELL_BYTES_DEFAULT / TOKEN_BYTES) as u64
    }

    fn learn(&mut self, chain: &[CellHash]) {
        for pair in chain.windows(2) {
            let next = self.prefixes.entry(pair[0]).or_insert(Next::Cell(pair[1]));
            if matches!(next, Next::Cell(cell) if *cell != pair[1]) {
                *next = Next::Branch;
            }
        }
    }

    /// Sends a request to the best of the engines that it may go to.
    fn send(
        &mut self,
        (now_s, since_s): (f64, f64),
        id: u64,
        job: &Job,
        verdict: &Verdict,
        fleet: &Fleet,
    ) -> Route {
        self.turn += 1;
        let among = fleet.among();
        let is_open = |at: usize| match verdict {
            Verdict::Open | Verdict::Full => true,
            Verdict::Placed(endpoint) => *endpoint == id_of(at),
            Verdict::Room(endpoints) => endpoints.contains(&id_of(at)),
        };
        let hits = among.hits(job);
        let passes = affinity::pass(job, &hits, among);
        let engine = among
            .least(self.turn, |at, node| (!is_open(at), !passes[at], marginal::seconds(node, job, hits[at])));
        let asked = self.asked(job);
        let conversation = asked.conversation.unwrap_or(ConversationId(mix(id) | 1));
        let turn = Turn {
            conversation: conversation.0,
            tokens: asked.tokens,
            shared_tokens: asked.shared_tokens,
            tenant: asked.tenant.0,
            waited_ms: ((now_s - since_s) * MS_PER_S) as u64,
            is_new: asked.conversation.is_none(),
        };
        let key = RequestKey { origin: ORIGIN, request: id };
        let found_tokens = hits.iter().copied().max().unwrap_or(0);
        let found_cells = (found_tokens * TOKEN_BYTES / CELL_BYTES_DEFAULT) as u32;
        let sent = Sent { key, endpoint: id_of(engine), chain: &job.cells, turn: &turn, found_cells };
        if self.admission.follows(asked.tokens) {
            self.admission.sent(sent, &rooms(fleet), at(now_s));
        }
        self.learn(&job.cells);
        self.under_way.insert(id, job.output_tokens);
        Route::Whole(engine)
    }
}

impl Rule for Gated {
    fn route(&mut self, now_s: f64, id: u64, job: &Job, fleet: &Fleet) -> Route {
        let asked = self.asked(job);
        let verdict = if self.admission.follows(asked.tokens) {
            self.admission.verdict(&asked, &rooms(fleet), at(now_s))
        } else {
            Verdict::Open
        };
        if verdict != Verdict::Full {
            return self.send((now_s, now_s), id, job, &verdict, fleet);
        }
        let wait_ms = self.admission.wait_ms(&asked, at(now_s)).unwrap_or(0);
        if wait_ms > u64::from(self.admission.hold().room_ms_max) {
            return Route::Refused { retry_s: wait_ms as f64 / MS_PER_S };
        }
        let held = Held {
            origin: ORIGIN.0,
            number: id,
            held_for: HeldFor::Room.into(),
            conversation: asked.conversation.map_or(0, |conversation| conversation.0),
            tokens: asked.tokens - asked.shared_tokens.min(asked.tokens),
            tenant: asked.tenant.0,
            ..Held::default()
        };
        self.admission.held(&held, at(now_s));
        self.waiting.insert(id, (job.clone(), now_s));
        Route::Held
    }

    fn released(&mut self, now_s: f64, fleet: &Fleet) -> Option<(u64, Route)> {
        if now_s >= self.expired_s + EXPIRE_S {
            self.expired_s = now_s;
            self.admission.expire(engines(fleet), at(now_s));
        }
        if self.waiting.is_empty() {
            return None;
        }
        let (key, verdict) = self.admission.next(&rooms(fleet), at(now_s))?;
        self.admission.released(key);
        let HeldKey { number: id, .. } = key;
        let (job, since_s) = self.waiting.remove(&id)?;
        Some((id, self.send((now_s, since_s), id, &job, &verdict, fleet)))
    }

    fn refused(&mut self, now_s: f64, id: u64) {
        self.under_way.insert(id, 0);
        self.ended(now_s, id);
    }

    fn ended(&mut self, now_s: f64, id: u64) {
        let Some(tokens) = self.under_way.remove(&id) else { return };
        self.output_tokens += OUTPUT_SHARE * (tokens as f64 - self.output_tokens);
        let key = RequestKey { origin: ORIGIN, request: id };
        self.admission.ended(key, tokens as u64, at(now_s));
    }
}

/// What each engine holds.
fn rooms(fleet: &Fleet) -> Vec<Room> {
    let nodes = fleet.among().nodes().iter().enumerate();
    let room = |(at, node): (usize, &crate::fleet::Node)| {
        let params = node.engine.params();
        let below: usize = params.tiers.iter().map(|tier| tier.tokens).sum();
        Room { endpoint: id_of(at), tokens: (params.kv_tokens + below) as u64 }
    };
    nodes.map(room).collect()
}

/// What the engines are like.
fn engines(fleet: &Fleet) -> Engines {
    let nodes = fleet.among().nodes();
    let of_mean = |sum: f64| count(sum / nodes.len().max(1) as f64);
    let refill_s =
        |node: &crate::fleet::Node| node.engine.params().kv_tokens as f64 * node.speed.prefill_s_per_token;
    let backlog_s =
        |node: &crate::fleet::Node| node.load.prefill_tokens as f64 * node.speed.prefill_s_per_token;
    Engines {
        room_tokens: of_mean(rooms(fleet).iter().map(|room| room.tokens as f64).sum()),
        refill_ms: of_mean(nodes.iter().map(refill_s).sum::<f64>() * MS_PER_S),
        backlog_ms: of_mean(nodes.iter().map(backlog_s).sum::<f64>() * MS_PER_S),
        is_near_full: true,
    }
}

fn id_of(engine: usize) -> EndpointId {
    EndpointId(engine as u64 + 1)
}

fn at(now_s: f64) -> Timestamp {
    Timestamp::from_us(SECOND_ZERO_US + count(now_s * US_PER_S))
}
