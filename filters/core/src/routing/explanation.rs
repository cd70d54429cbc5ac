//! A decision as it is shown to people: the JSON of `x-warmpath-explain` and of the controller's `/explain`, which
//! `warmpath explain` reads.

use super::{Candidate, Decision, Query};
use crate::cost::Terms;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The pool that serves the model.
    pub pool: String,
    /// The model that the request names; empty when it names none.
    pub model: String,
    /// The model that the engine is asked for instead, where a rule says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Whether that is an adapter of the pool's base model.
    pub is_adapter: bool,
    /// What the request's objective makes of it: higher is more important.
    #[serde(default)]
    pub priority: i32,
    /// [`super::Reason::label`].
    pub reason: String,
    /// Tokens of the prompt, counted or estimated from its bytes.
    pub prompt_tokens: u64,
    /// Whole cells of the prompt.
    pub cells: usize,
    /// Endpoints whose cost was computed.
    pub considered: usize,
    /// Best first.
    pub candidates: Vec<CandidateExplanation>,
}

/// One endpoint of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CandidateExplanation {
    /// `ip:port`.
    pub endpoint: String,
    /// [`crate::view::Fitness::label`].
    pub fitness: String,
    /// Cells of the prompt that it holds.
    pub cells: u32,
    /// The same in tokens.
    pub cached_tokens: u64,
    /// Requests there now.
    pub requests: u32,
    /// The cost: the weighted sum of the terms.
    pub cost_s: f64,
    /// The terms of the cost, in seconds, by their labels.
    pub terms_s: Terms,
}

// === impl Explanation ===

impl Explanation {
    /// Of a decision on this query.
    pub fn new(query: &Query<'_>, decision: &Decision) -> Self {
        let (pool, model) = (query.pool(), query.model());
        Self {
            pool: pool.name().to_owned(),
            model: model.to_owned(),
            target: query.target().map(str::to_owned),
            is_adapter: pool.adapters().iter().any(|adapter| adapter == query.target().unwrap_or(model)),
            priority: decision.priority,
            reason: decision.reason.label().to_owned(),
            prompt_tokens: query.prompt_tokens,
            cells: query.chain.len(),
            considered: decision.considered,
            candidates: decision.ranked().map(CandidateExplanation::new).collect(),
        }
    }
}

// === impl CandidateExplanation ===

impl CandidateExplanation {
    fn new(candidate: &Candidate) -> Self {
        Self {
            endpoint: candidate.address.clone(),
            fitness: candidate.fitness.label().to_owned(),
            cells: candidate.cells,
            cached_tokens: candidate.cached_tokens,
            requests: candidate.requests,
            cost_s: candidate.cost_s,
            terms_s: candidate.terms,
        }
    }
}
