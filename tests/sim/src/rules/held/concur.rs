//! CONCUR: a window of active programs, which grows while the KV cache has room and shrinks when it is full and hits are lost
//! (arXiv 2601.22705: additive increase, multiplicative decrease, by the KV use and the hit rate).
//!
//! A program in the window sends its requests at once, to the engine that holds most of it; others wait for a place, first come first
//! served. When the window has shrunk, programs leave it between two of their requests. One window stands for all engines, as they
//! would stand behind one controller. That a program has ended, this rule is given to know.

use super::super::{Route, Rule, affinity, marginal};
use crate::fleet::Fleet;
use crate::workload::Job;
use fnv::{FnvHashMap, FnvHashSet};
use std::collections::VecDeque;

/// Time between two looks, in seconds.
const INTERVAL_S: f64 = 1.0;
/// How much a look counts in the hit rate.
const HIT_SHARE: f64 = 0.05;

/// What the published algorithm leaves to its user.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Below this KV use the window grows.
    pub use_low: f64,
    /// Above this one it shrinks, if hits are lost.
    pub use_high: f64,
    /// Hit rate below which they are.
    pub hits_low: f64,
    /// Programs by which it grows.
    pub more: f64,
    /// Share to which it shrinks.
    pub less: f64,
}

/// See the module.
#[derive(Debug)]
pub struct Concur {
    settings: Settings,
    window: f64,
    active: FnvHashSet<u32>,
    /// Requests under way: their program, whether it ends with them, and tokens of the prompt.
    under_way: FnvHashMap<u64, (u32, bool, usize)>,
    waiting: VecDeque<(u64, Job)>,
    hit_rate: f64,
    looked_s: f64,
    turn: usize,
}

// === impl Settings ===

impl Settings {
    /// Those of the paper, as far as it states them.
    pub const PUBLISHED: Self = Self { use_low: 0.2, use_high: 0.5, hits_low: 0.2, more: 2.0, less: 0.5 };
}

// === impl Concur ===

impl Concur {
    /// A window of two programs an engine.
    pub fn new(engines: usize, settings: Settings) -> Self {
        Self {
            settings,
            window: 2.0 * engines as f64,
            active: FnvHashSet::default(),
            under_way: FnvHashMap::default(),
            waiting: VecDeque::new(),
            hit_rate: 1.0,
            looked_s: 0.0,
            turn: 0,
        }
    }

    fn look(&mut self, now_s: f64, fleet: &Fleet) {
        if now_s < self.looked_s + INTERVAL_S {
            return;
        }
        self.looked_s = now_s;
        let nodes = fleet.among().nodes();
        let kv_use =
            nodes.iter().map(|node| node.stats().kv_usage()).sum::<f64>() / nodes.len().max(1) as f64;
        let Settings { use_low, use_high, hits_low, more, less } = self.settings;
        if kv_use < use_low && !self.waiting.is_empty() {
            self.window += more;
        } else if kv_use > use_high && self.hit_rate < hits_low {
            self.window = (self.window * less).max(nodes.len() as f64);
        }
    }

    fn sent(&mut self, id: u64, job: &Job, fleet: &Fleet) -> Option<Route> {
        let program = program(id, job);
        let has_room = (self.active.len() as f64) < self.window.floor();
        if !self.active.contains(&program) && !has_room {
            return None;
        }
        self.turn += 1;
        self.active.insert(program);
        self.under_way.insert(id, (program, job.form.is_last, job.prompt_tokens));
        let among = fleet.among();
        let hits = among.hits(job);
        let passes = affinity::pass(job, &hits, among);
        let cost = |at: usize, node: &_| (!passes[at], marginal::seconds(node, job, hits[at]));
        Some(Route::Whole(among.least(self.turn, cost)))
    }
}

impl Rule for Concur {
    fn route(&mut self, _now_s: f64, id: u64, job: &Job, fleet: &Fleet) -> Route {
        let is_active = self.active.contains(&program(id, job));
        let sent = if self.waiting.is_empty() || is_active { self.sent(id, job, fleet) } else { None };
        sent.unwrap_or_else(|| {
            self.waiting.push_back((id, job.clone()));
            Route::Held
        })
    }

    fn released(&mut self, now_s: f64, fleet: &Fleet) -> Option<(u64, Route)> {
        self.look(now_s, fleet);
        let (id, job) = self.waiting.pop_front()?;
        let sent = self.sent(id, &job, fleet);
        if sent.is_none() {
            self.waiting.push_front((id, job));
            return None;
        }
        sent.map(|route| (id, route))
    }

    fn refused(&mut self, now_s: f64, id: u64) {
        self.ended(now_s, id);
    }

    fn first_token(&mut self, _now_s: f64, id: u64, cached_tokens: usize) {
        let Some((_, _, prompt_tokens)) = self.under_way.get(&id) else { return };
        let rate = cached_tokens as f64 / (*prompt_tokens).max(1) as f64;
        self.hit_rate += HIT_SHARE * (rate - self.hit_rate);
    }

    fn ended(&mut self, _now_s: f64, id: u64) {
        let Some((program, is_last, _)) = self.under_way.remove(&id) else { return };
        if is_last || self.active.len() as f64 > self.window {
            self.active.remove(&program);
        }
    }
}

/// The program that asks; one without a name is one of a single request.
fn program(id: u64, job: &Job) -> u32 {
    job.form.program.unwrap_or(u32::MAX - id as u32)
}
