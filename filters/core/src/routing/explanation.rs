//! A decision as it is shown to people: the JSON of `x-warmpath-explain` and of the controller's `/explain`, which
//! `warmpath explain` reads.

use super::split::pair;
use super::{Candidate, Decision, NoEndpoint, Options, Query, choose};
use crate::admission::{Asked, Verdict};
use crate::cost::{Term, Terms};
use crate::ids::{EndpointId, TenantId};
use crate::num::float;
use crate::prompt::Unwritten;
use crate::wire::Trust;
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
    /// Whether the text that the engine computes is known, where the pool says how its prompts are written: `written`, or why not,
    /// [`crate::prompt::Unwritten::label`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Endpoints whose cost was computed.
    pub considered: usize,
    /// Whether the pool's gate lets it pass, where requests may wait for room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateExplanation>,
    /// Best first; for the whole request. Those that the gate prefers, and as if it let the request pass.
    pub candidates: Vec<CandidateExplanation>,
    /// The same for its two legs, where the pool passes KV on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitExplanation>,
}

/// What the gate of a pool says to a request that comes now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GateExplanation {
    /// `open` (no room is short), `placed` (its conversation has a place), `room` (it may take one) or `full` (it has to wait).
    pub verdict: String,
    /// The endpoints of the place, or with room.
    pub endpoints: Vec<String>,
    /// Whether it continues a conversation that is followed.
    pub is_followed: bool,
    /// Tokens that an endpoint would keep for it alone.
    pub needed_tokens: u64,
    /// Requests that wait for the pool, in all proxies.
    pub waiting: usize,
    /// How long it would wait, as far as that can be predicted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_s: Option<f64>,
    /// The longest wait: it goes on after that.
    pub wait_s_max: f64,
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
    /// What says so: its engine's reports (`reported`), what proxies have learned (`learned`), or whichever is more (`both`).
    #[serde(default)]
    pub cells_by: String,
    /// The same in tokens.
    pub cached_tokens: u64,
    /// Tokens of those that it has to load from below the GPU.
    #[serde(default)]
    pub loaded_tokens: u64,
    /// How far what its engine reports of its cache can be relied on: [`crate::wire::Trust::label`].
    #[serde(default)]
    pub trust: String,
    /// Requests there now.
    pub requests: u32,
    /// The cost: the weighted sum of the terms.
    pub cost_s: f64,
    /// The terms of the cost, in seconds, by their labels.
    pub terms_s: Terms,
}

// === impl Explanation ===

impl Explanation {
    /// Of the choice for this query of a tenant.
    pub fn of(query: &Query<'_>, tenant: TenantId, options: &Options) -> Result<Self, NoEndpoint> {
        let asked = query.asked(tenant);
        let gated = asked.map(|asked| (asked, query.view().verdict(query.pool(), &asked, options.now)));
        let gate = gated.as_ref().map(|(asked, verdict)| GateExplanation::of(query, asked, verdict, options));
        let preferred = query.clone().at(gated.as_ref().map_or(&[], |(_, verdict)| endpoints(verdict)));
        let query = &preferred;
        let whole = choose(query, options);
        let split =
            query.pool().transfer().map(|_| SplitExplanation::of(query, options, whole.as_ref().ok()));
        let is_split = split.as_ref().is_some_and(|split| split.is_cheaper);
        let decision = whole.map(Some).or_else(|reason| if is_split { Ok(None) } else { Err(reason) })?;
        Ok(Self { gate, split, ..Self::new(query, decision.as_ref()) })
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
            text: query
                .written
                .map(|written| written.map_or_else(Unwritten::label, |()| "written").to_owned()),
            considered: decision.map_or(0, |decision| decision.considered),
            gate: None,
            candidates: decision
                .map(|decision| CandidateExplanation::all(query, decision))
                .unwrap_or_default(),
            split: None,
        }
    }
}

// === impl GateExplanation ===

impl GateExplanation {
    fn of(query: &Query<'_>, asked: &Asked, verdict: &Verdict, options: &Options) -> Self {
        let (view, pool) = (query.view(), query.pool());
        let gate = view.admission(pool.name());
        let address = |id: &EndpointId| Some(view.endpoint(view.slot(*id)?)?.address.clone());
        let wait_ms =
            gate.filter(|_| *verdict == Verdict::Full).and_then(|gate| gate.wait_ms(asked, options.now));
        let wait_ms_max = gate.map_or(0, |gate| gate.hold().room_ms_max);
        Self {
            verdict: label(verdict).to_owned(),
            endpoints: endpoints(verdict).iter().filter_map(address).collect(),
            is_followed: asked.conversation.is_some(),
            needed_tokens: asked.own_tokens(),
            waiting: gate.map_or(0, |gate| gate.queue().len()),
            wait_s: wait_ms.map(|ms| float(ms) / 1_000.0),
            wait_s_max: f64::from(wait_ms_max) / 1_000.0,
        }
    }
}

fn label(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Open => "open",
        Verdict::Placed(_) => "placed",
        Verdict::Room(_) => "room",
        Verdict::Full => "full",
    }
}

/// The endpoints to which a gate sends a request first.
fn endpoints(verdict: &Verdict) -> &[EndpointId] {
    match verdict {
        Verdict::Placed(place) => std::slice::from_ref(place),
        Verdict::Room(places) => places,
        Verdict::Open | Verdict::Full => &[],
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
            prefill: CandidateExplanation::all(query, &split.prefill),
            decode: CandidateExplanation::all(query, &split.decode),
        }
    }
}

// === impl CandidateExplanation ===

impl CandidateExplanation {
    fn all(query: &Query<'_>, decision: &Decision) -> Vec<Self> {
        decision.ranked().map(|candidate| Self::new(query, candidate)).collect()
    }

    fn new(query: &Query<'_>, candidate: &Candidate) -> Self {
        let cells_by = match candidate.trust {
            Trust::Whole if !query.is_learned => "reported",
            Trust::Partial if !query.is_learned => "both",
            Trust::None | Trust::Whole | Trust::Partial | Trust::Suspect => "learned",
        };
        Self {
            cells_by: cells_by.to_owned(),
            endpoint: candidate.address.clone(),
            fitness: candidate.fitness.label().to_owned(),
            cells: candidate.cells,
            cached_tokens: candidate.cached_tokens,
            loaded_tokens: candidate.loaded_tokens,
            trust: candidate.trust.label().to_owned(),
            requests: candidate.requests,
            cost_s: candidate.cost_s,
            terms_s: candidate.terms,
        }
    }
}
