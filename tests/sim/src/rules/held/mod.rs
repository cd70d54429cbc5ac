//! Rules that let requests wait in front of the engines, beside ours.
//!
//! ```text
//!   route ─┬─ the valve is open for some engine ─► the formula, among those ─► sent
//!          └─ closed, or others wait ─► the line ─► released, first come first served
//! ```
//!
//! As the other rules, they see loads and caches exactly and at once, and programs by their names, where the systems that they are
//! named after read headers or metrics that are late.

mod concur;
mod fixed;
mod llmd_gate;
mod programs;

use super::{Route, Rule, affinity, marginal};
use crate::fleet::{Among, Fleet};
use crate::workload::Job;
use std::collections::VecDeque;

pub use concur::{Concur, Settings as ConcurSettings};
pub use fixed::Fixed;
pub use llmd_gate::LlmdGate;
pub use programs::Programs;

/// Says for which engines a request need not wait.
pub trait Valve {
    /// Whether it may go to each engine now.
    fn open(&mut self, job: &Job, among: Among<'_>) -> Vec<bool>;

    /// The best of the engines that are open.
    fn choose(&mut self, turn: usize, job: &Job, open: &[bool], among: Among<'_>) -> usize {
        let hits = among.hits(job);
        let passes = affinity::pass(job, &hits, among);
        among.least(turn, |at, node| (!open[at], !passes[at], marginal::seconds(node, job, hits[at])))
    }
}

/// First come, first served, behind a valve.
#[derive(Debug, Default)]
pub struct Line<V> {
    valve: V,
    waiting: VecDeque<(u64, Job)>,
    turn: usize,
}

// === impl Line ===

impl<V: Valve> Line<V> {
    /// An empty line.
    pub fn new(valve: V) -> Self {
        Self { valve, waiting: VecDeque::new(), turn: 0 }
    }

    fn sent(&mut self, job: &Job, fleet: &Fleet) -> Option<Route> {
        let among = fleet.among();
        let open = self.valve.open(job, among);
        open.contains(&true).then(|| {
            self.turn += 1;
            Route::Whole(self.valve.choose(self.turn, job, &open, among))
        })
    }
}

impl<V: Valve> Rule for Line<V> {
    fn route(&mut self, _now_s: f64, id: u64, job: &Job, fleet: &Fleet) -> Route {
        let sent = if self.waiting.is_empty() { self.sent(job, fleet) } else { None };
        sent.unwrap_or_else(|| {
            self.waiting.push_back((id, job.clone()));
            Route::Held
        })
    }

    fn released(&mut self, _now_s: f64, fleet: &Fleet) -> Option<(u64, Route)> {
        let (id, job) = self.waiting.pop_front()?;
        let sent = self.sent(&job, fleet);
        if sent.is_none() {
            self.waiting.push_front((id, job));
            return None;
        }
        sent.map(|route| (id, route))
    }
}
