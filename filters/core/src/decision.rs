//! A decision and its reasons: what the filter acts on, and what it can tell about it.

use crate::cost::{PrefillWork, Terms};
use crate::ids::{EndpointId, Slot};
use crate::view::Fitness;
use serde::Serialize;
use std::fmt;

/// A choice that was made.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The chosen endpoint and its alternates, best first; never empty.
    pub ranked: Vec<Candidate>,
    /// Why the first one.
    pub reason: Reason,
    /// Endpoints whose cost was computed.
    pub considered: usize,
    /// Whole cells of the prompt.
    pub chain_cells: usize,
}

/// One endpoint that was weighed.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its slot in the view.
    pub slot: Slot,
    /// Its id.
    pub id: EndpointId,
    /// `ip:port`.
    pub address: String,
    /// Whether it may be chosen.
    pub fitness: Fitness,
    /// Cells of the prompt that it holds.
    pub cells: u32,
    /// The same in tokens.
    pub cached_tokens: u64,
    /// Prefill work that the request would bring.
    pub work: PrefillWork,
    /// Prefill work in flight there that is not done yet.
    pub backlog: PrefillWork,
    /// Whether requests there wait for something else than prefill ([`crate::view::Endpoint::is_held_up`]).
    pub is_held_up: bool,
    /// Requests there now.
    pub requests: u32,
    /// The cost.
    pub terms: Terms,
}

/// Why an endpoint was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It holds as much of the prompt as any that is as fit, or nearly.
    Warm,
    /// Another holds clearly more, but is so busy that computing anew is quicker for all.
    Spill,
    /// Nobody who could have been chosen holds any of the prompt.
    Cold,
    /// There is no prompt to match.
    Load,
}

/// Why no endpoint was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoEndpoint {
    /// No pool serves the model that the request names.
    UnknownModel,
    /// The pool has no endpoint.
    NoneKnown,
    /// No endpoint of the pool is healthy.
    NoneHealthy,
}

/// A decision as it is shown to people; the JSON of `warmpath explain`.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation<'a> {
    /// The pool that serves the model.
    pub pool: &'a str,
    /// The adapter, empty for the base model.
    pub adapter: &'a str,
    /// [`Reason::label`].
    pub reason: &'static str,
    /// Tokens of the prompt, counted or estimated from its bytes.
    pub prompt_tokens: u64,
    /// Whole cells of the prompt.
    pub cells: usize,
    /// Endpoints whose cost was computed.
    pub considered: usize,
    /// Best first.
    pub candidates: Vec<CandidateExplanation<'a>>,
}

/// One candidate as it is shown to people.
#[derive(Clone, Debug, Serialize)]
pub struct CandidateExplanation<'a> {
    /// `ip:port`.
    pub endpoint: &'a str,
    /// [`Fitness::label`].
    pub fitness: &'static str,
    /// Cells of the prompt that it holds.
    pub cells: u32,
    /// The same in tokens.
    pub cached_tokens: u64,
    /// Requests there now.
    pub requests: u32,
    /// The weighted sum of the terms that follow.
    pub cost_s: f64,
    /// The terms of the cost, in seconds; the first three weigh [`crate::cost::WAIT_WEIGHT`] times in the sum.
    pub queue_s: f64,
    /// See [`crate::cost`].
    pub prefill_s: f64,
    /// See [`crate::cost`].
    pub rivals_s: f64,
    /// See [`crate::cost`].
    pub later_s: f64,
    /// See [`crate::cost`].
    pub stall_s: f64,
    /// See [`crate::cost`].
    pub decode_s: f64,
    /// See [`crate::cost`].
    pub evict_s: f64,
}

// === impl Decision ===

impl Decision {
    /// The chosen endpoint.
    pub fn chosen(&self) -> Option<&Candidate> {
        self.ranked.first()
    }

    /// The value of `x-gateway-destination-endpoint`: addresses, best first.
    pub fn destinations(&self) -> String {
        let mut list = String::with_capacity(self.ranked.len() * 22);
        for candidate in &self.ranked {
            if !list.is_empty() {
                list.push(',');
            }
            list.push_str(&candidate.address);
        }
        list
    }

    /// The decision for people.
    pub fn explain<'a>(&'a self, pool: &'a str, adapter: &'a str, prompt_tokens: u64) -> Explanation<'a> {
        Explanation {
            pool,
            adapter,
            reason: self.reason.label(),
            prompt_tokens,
            cells: self.chain_cells,
            considered: self.considered,
            candidates: self.ranked.iter().map(CandidateExplanation::of).collect(),
        }
    }
}

impl<'a> CandidateExplanation<'a> {
    fn of(candidate: &'a Candidate) -> Self {
        let terms = &candidate.terms;
        Self {
            endpoint: &candidate.address,
            fitness: candidate.fitness.label(),
            cells: candidate.cells,
            cached_tokens: candidate.cached_tokens,
            requests: candidate.requests,
            cost_s: terms.total_s(),
            queue_s: terms.queue_s,
            prefill_s: terms.prefill_s,
            rivals_s: terms.rivals_s,
            later_s: terms.later_s,
            stall_s: terms.stall_s,
            decode_s: terms.decode_s,
            evict_s: terms.evict_s,
        }
    }
}

// === impl Reason ===

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Warm, Self::Spill, Self::Cold, Self::Load];

    /// Its stable name in metrics and headers.
    pub fn label(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Spill => "spill",
            Self::Cold => "cold",
            Self::Load => "load",
        }
    }
}

// === impl NoEndpoint ===

impl NoEndpoint {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::UnknownModel, Self::NoneKnown, Self::NoneHealthy];

    /// Its stable name in metrics and bodies.
    pub fn label(self) -> &'static str {
        match self {
            Self::UnknownModel => "model_not_found",
            Self::NoneKnown => "no_endpoint_known",
            Self::NoneHealthy => "no_endpoint_healthy",
        }
    }
}

impl fmt::Display for NoEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownModel => "no pool serves this model",
            Self::NoneKnown => "no endpoint is known for this model",
            Self::NoneHealthy => "no endpoint of this model is healthy",
        })
    }
}

impl std::error::Error for NoEndpoint {}
