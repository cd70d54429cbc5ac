//! What requests came to since the last plan, and which of them missed their objective.
//!
//! A first token is judged where its client waits for it: that of a prefill leg comes to nobody, and what is late in a request of two legs
//! is mostly the prompt, so that it counts for the role that computes prompts.

use crate::publish::{Arrived, Firsts};
use warmpath_core::wire::Role as Takes;

/// What has arrived since the last plan.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    /// Requests, those that are held among them.
    pub(super) requests: f64,
    /// Those whose prompts the role for prompts was given.
    pub(super) prompts: f64,
    /// Those at engines for responses.
    pub(super) responses: f64,
    pub(super) held: f64,
    /// Requests whose prompts the role for prompts was given, and that have a first token or wait too long for it.
    pub(super) firsts: f64,
    pub(super) firsts_late: f64,
    /// The same of requests that engines for responses take whole.
    pub(super) whole_firsts: f64,
    pub(super) whole_firsts_late: f64,
    pub(super) ends: f64,
    pub(super) ends_late: f64,
}

// === impl Sums ===

impl Sums {
    /// Adds the first tokens at an engine, those that came and those that are overdue.
    pub(super) fn note_firsts(&mut self, takes: Takes, arrived: &Arrived, objective_ms: f64) {
        let late = |firsts: &Firsts| firsts.came.later_than(objective_ms) + firsts.overdue;
        let all = |firsts: &Firsts| firsts.came.count() + firsts.overdue;
        let (own, split) = (&arrived.first_tokens, &arrived.split_first_tokens);
        // A prompt that is computed for another engine has its first token there, and its client waits for that.
        let (own_firsts, whole_firsts) = match takes {
            Takes::Both => (Some(own), None),
            Takes::Prefill => (None, None),
            Takes::Decode => (None, Some(own)),
        };
        for firsts in own_firsts.into_iter().chain([split]) {
            self.firsts += all(firsts);
            self.firsts_late += late(firsts);
        }
        if let Some(firsts) = whole_firsts {
            self.whole_firsts += all(firsts);
            self.whole_firsts_late += late(firsts);
        }
    }
}
