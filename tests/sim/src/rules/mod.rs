//! The rules that are compared: ours and the others, each written from its formula, in its own file. Two of them are
//! combinations made here of published parts; `README.md` tells which, and where each is published.
//!
//! They are not the binaries of the systems that they are named after: what is compared is the formula, with
//! perfect sight (see [`crate::fleet`]). The binaries run beside the real filter in `just bench`.

mod affinity;
mod affinity_lmetric;
mod affinity_marginal;
mod apart;
mod dynamo;
mod endless;
mod held;
mod least_requests;
mod llmd_affinity;
mod llmd_blend;
mod lmetric;
mod marginal;
mod name;
mod random;
mod round_robin;
mod sglang;

use crate::fleet::{Among, Fleet};
use crate::workload::Job;
use warmpath_engine::model::{BlockHash, Stats};

pub use apart::Apart;
pub use endless::Endless;
pub use held::{Concur, ConcurSettings, Fixed, Line, LlmdGate, Programs};
pub use name::{RuleName, UnknownRule};
pub use random::Random;

/// Chooses one of some engines, by what is seen of them at the moment.
pub trait Formula {
    /// The engine for a request, by its place among them.
    fn choose(&mut self, job: &Job, among: Among<'_>) -> usize;
}

/// Where a request goes; engines are meant by their place in the fleet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Route {
    /// To one engine, which does all of it.
    Whole(usize),
    /// To an engine that prefills it, and then to one that decodes it: see [`Rule::decoder`].
    Apart(usize),
    /// To none yet: see [`Rule::released`].
    Held,
    /// Back to the client, who comes again.
    Refused {
        /// After so many seconds.
        retry_s: f64,
    },
}

/// A block that came into a tier of an engine, or left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The block.
    pub block: BlockHash,
    /// The tier: 0 for the GPU, then as [`warmpath_engine::model::Tier::ALL`].
    pub tier: usize,
    /// Whether it is there now.
    pub is_stored: bool,
}

/// Chooses engines, and hears what became of it.
pub trait Rule {
    /// Where a request goes. `id` is unique among those under way.
    fn route(&mut self, now_s: f64, id: u64, job: &Job, fleet: &Fleet) -> Route;

    /// A request that was held and is no longer, and where it goes. Asked after everything that happens, until there is
    /// none.
    fn released(&mut self, _now_s: f64, _fleet: &Fleet) -> Option<(u64, Route)> {
        None
    }

    /// The engine that decodes a request, now that another has prefilled it and holds its blocks; `None`: whoever knew is gone,
    /// and the request with it.
    fn decoder(&mut self, _now_s: f64, _id: u64, _job: &Job, _fleet: &Fleet) -> Option<usize> {
        None
    }

    /// The engine does not take the request.
    fn refused(&mut self, _now_s: f64, _id: u64) {}

    /// The engine responded 500 to it.
    fn failed(&mut self, _now_s: f64, _id: u64) {}

    /// Its first token came; `cached_tokens` of its prompt were cached.
    fn first_token(&mut self, _now_s: f64, _id: u64, _cached_tokens: usize) {}

    /// Its last token came.
    fn ended(&mut self, _now_s: f64, _id: u64) {}

    /// An engine's metrics were read.
    fn scraped(&mut self, _now_s: f64, _engine: usize, _stats: &Stats) {}

    /// Whether [`Self::changed`] is to be called.
    fn follows_caches(&self) -> bool {
        false
    }

    /// What an engine holds has changed in a step that has just ended.
    fn changed(&mut self, _now_s: f64, _engine: usize, _changes: Vec<Change>) {}

    /// An engine joined: from now on the first `engines` of the fleet may be chosen.
    fn joined(&mut self, _now_s: f64, _engines: usize) {}

    /// When [`Self::wake`] is to be called next, in seconds.
    fn wake_s(&self) -> Option<f64> {
        None
    }

    /// The time that was asked for has come.
    fn wake(&mut self, _now_s: f64) {}
}

impl<F: Formula> Rule for F {
    fn route(&mut self, _now_s: f64, _id: u64, job: &Job, fleet: &Fleet) -> Route {
        Route::Whole(self.choose(job, fleet.among()))
    }
}

impl Formula for Box<dyn Formula> {
    fn choose(&mut self, job: &Job, among: Among<'_>) -> usize {
        self.as_mut().choose(job, among)
    }
}

#[cfg(test)]
mod tests;
