//! A decision as it is shown to people: the JSON of `x-warmpath-explain` and of the controller's `/explain`, which
//! `warmpath explain` reads.

use super::split::pair;
use super::{Candidate, Decision, NoEndpoint, Options, Query, choose};
use crate::cost::{Term, Terms};
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
    /// Best first; for the whole request.
    pub candidates: Vec<CandidateExplanation>,
    /// The same for its two legs, where the pool passes KV on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitExplanation>,
}

/// What a request would cost in two legs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SplitExplanation {
    /// Whether that is less than at one endpoint. What the body says may still keep the request whole.
    pub is_cheaper: bool,
    /// Why there is no pair of endpoints: [`super::Unsplit::label`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The cost of both legs.
    pub cost_s: f64,
    /// Tokens whose KV would be transferred.
    pub transfer_tokens: u64,
    /// The time that this is predicted to take.
    pub transfer_s: f64,
    /// Where the prompt would be computed, best first.
    pub prefill: Vec<CandidateExplanation>,
    /// Where the response would be generated, best first.
    pub decode: Vec<CandidateExplanation>,
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
    /// Of the choice for this query.
    pub fn of(query: &Query<'_>, options: &Options) -> Result<Self, NoEndpoint> {
        let whole = choose(query, options);
        let split =
            query.pool().transfer().map(|_| SplitExplanation::of(query, options, whole.as_ref().ok()));
        let is_split = split.as_ref().is_some_and(|split| split.is_cheaper);
        let decision = whole.map(Some).or_else(|reason| if is_split { Ok(None) } else { Err(reason) })?;
        Ok(Self { split, ..Self::new(query, decision.as_ref()) })
    }

    fn new(query: &Query<'_>, decision: Option<&Decision>) -> Self {
        let (pool, model) = (query.pool(), query.model());
        Self {
            pool: pool.name().to_owned(),
            model: model.to_owned(),
            target: query.target().map(str::to_owned),
            is_adapter: pool.adapters().iter().any(|adapter| adapter == query.target().unwrap_or(model)),
            priority: query.priority,
            reason: decision.map_or("none", |decision| decision.reason.label()).to_owned(),
            prompt_tokens: query.prompt_tokens,
            cells: query.chain.len(),
            considered: decision.map_or(0, |decision| decision.considered),
            candidates: decision.map(CandidateExplanation::all).unwrap_or_default(),
            split: None,
        }
    }
}

// === impl SplitExplanation ===

impl SplitExplanation {
    fn of(query: &Query<'_>, options: &Options, whole: Option<&Decision>) -> Self {
        let split = match pair(query, options, whole.is_some()) {
            Ok(split) => split,
            Err(reason) => return Self { reason: Some(reason.label().to_owned()), ..Self::default() },
        };
        Self {
            is_cheaper: whole.is_none_or(|whole| split.is_cheaper_than(whole)),
            reason: None,
            cost_s: split.cost_s,
            transfer_tokens: split.transfer_tokens,
            transfer_s: split.decode.chosen.terms[Term::Transfer],
            prefill: CandidateExplanation::all(&split.prefill),
            decode: CandidateExplanation::all(&split.decode),
        }
    }
}

// === impl CandidateExplanation ===

impl CandidateExplanation {
    fn all(decision: &Decision) -> Vec<Self> {
        decision.ranked().map(Self::new).collect()
    }

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
