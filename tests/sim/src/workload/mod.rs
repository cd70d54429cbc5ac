//! What is asked of the fleet: sessions of one or more requests, by the clock or one after the other.

mod agentic;
mod ladder;
mod lora;
mod mixed;
mod open;
mod text;

use std::sync::Arc;
use warmpath_core::ids::CellHash;
use warmpath_engine::model::BlockHash;

pub use warmpath_engine::model::BASE_ADAPTER;

pub use agentic::{AgenticSpec, agentic};
pub use ladder::{LADDER_RATES, LadderShape, LadderStage, ladder_stage, warm_stage};
pub use lora::LoraSpec;
pub use mixed::{beside, mixed};
pub use open::{open, open_lora};
pub use text::{Texts, mix};

/// One request, as the router and as the engine see it.
#[derive(Clone, Debug)]
pub struct Job {
    /// The router's chain.
    pub cells: Arc<[CellHash]>,
    /// The engine's chain: whole blocks of the prompt.
    pub blocks: Arc<[BlockHash]>,
    /// The LoRA adapter; [`BASE_ADAPTER`] for the model itself. Part of both chains.
    pub adapter: u32,
    /// Length of the prompt.
    pub prompt_tokens: usize,
    /// Length of the answer, which no rule knows.
    pub output_tokens: usize,
    /// The bound on the answer that the client states, if it does.
    pub output_tokens_max: Option<u64>,
    /// What else there is to the request and its response.
    pub form: Form,
}

/// What there is to a request beside its text; the default is text, and a stream that reports its usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// Images in its prompt, whose tokens are among those of the prompt.
    pub images: u32,
    /// Whether the response comes as a whole at its end.
    pub is_whole: bool,
    /// Whether the response says nothing of its tokens.
    pub lacks_usage: bool,
    /// Who asks, as a header names it; `None`: the request has none.
    pub tenant: Option<&'static str>,
    /// The program that asks, where the client names it: what rules need that pause programs.
    pub program: Option<u32>,
    /// Whether that has ended with this request.
    pub is_last: bool,
}

/// One request of a session.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Seconds between the answer before and this request.
    pub think_s: f64,
    /// The request.
    pub job: Job,
}

/// Requests that follow each other; each waits for the answer to the one before.
#[derive(Clone, Debug)]
pub struct Session {
    /// The group that it belongs to, by its place.
    pub group: usize,
    /// When its first request comes, in seconds. In a closed loop: not before.
    pub start_s: f64,
    /// Its requests.
    pub turns: Vec<Turn>,
}

/// Sessions of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Group {
    /// What they are called in reports.
    pub name: &'static str,
    /// Sessions under way at once: the next one begins when one has ended. `None`: all begin by the clock.
    pub slots: Option<usize>,
    /// The first of those begin within so many seconds, evenly.
    pub ramp_s: f64,
}

/// A workload.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    /// Its sessions; those of each group in their order.
    pub sessions: Vec<Session>,
    /// The groups that they belong to.
    pub groups: Vec<Group>,
    /// Requests that are sent earlier only warm the caches: no number counts them, in seconds.
    pub counts_from_s: f64,
    /// When it is cut off, in seconds; `None`: when all have been answered.
    pub ends_s: Option<f64>,
}

// === impl Job ===

impl Job {
    /// The same work with engine blocks that no other request shares: it finds what was put there for it, no more.
    #[must_use]
    pub fn alone(&self, number: u64) -> Self {
        let salt = mix(number);
        let blocks = self.blocks.iter().map(|block| BlockHash(block.0 ^ salt)).collect();
        Self { blocks, ..self.clone() }
    }
}

// === impl Workload ===

impl Workload {
    /// Sessions of one kind that begin by the clock, to their end.
    pub fn by_clock(sessions: Vec<Session>) -> Self {
        Self { sessions, groups: vec![Group::default()], ..Self::default() }
    }

    /// The same, called `name` in reports, and asked for by `tenant`.
    #[must_use]
    pub fn of(mut self, name: &'static str, tenant: Option<&'static str>) -> Self {
        for group in &mut self.groups {
            group.name = name;
        }
        for turn in self.sessions.iter_mut().flat_map(|session| &mut session.turns) {
            turn.job.form.tenant = tenant;
        }
        self
    }

    /// All requests.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.sessions.iter().flat_map(|session| &session.turns).map(|turn| &turn.job)
    }
}
