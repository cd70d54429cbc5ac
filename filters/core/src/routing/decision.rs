//! A decision and its reasons.

use crate::cost::Terms;
use crate::ids::{AdapterId, EndpointId};
use crate::view::Fitness;
use crate::wire::Trust;
use crate::work::PrefillWork;
use std::fmt;

/// A choice that was made.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The chosen endpoint.
    pub chosen: Candidate,
    /// Where to go if it fails, best first.
    pub alternates: Vec<Candidate>,
    /// The reason.
    pub reason: Reason,
    /// Endpoints whose cost was computed.
    pub considered: usize,
    /// What the request's objective makes of it: higher is more important.
    pub priority: i32,
}

/// One endpoint of a decision.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its id.
    pub id: EndpointId,
    /// `ip:port`.
    pub address: String,
    /// Whether it may be chosen.
    pub fitness: Fitness,
    /// Cells of the prompt that it holds.
    pub cells: u32,
    /// The same in tokens.
    pub held_tokens: u64,
    /// Tokens of those that are believed to be in its cache.
    pub cached_tokens: u64,
    /// Tokens of those that it has to load from below the GPU.
    pub loaded_tokens: u64,
    /// How far what its engine reports of its cache can be relied on.
    pub trust: Trust,
    /// Requests there now.
    pub requests: u32,
    /// Prefill work that the request would bring.
    pub work: PrefillWork,
    /// Prefill work in front of the first token, the request's own included. `None` where requests wait for something
    /// other than prefill ([`crate::view::Endpoint::is_held_up`]).
    pub work_ahead: Option<PrefillWork>,
    /// Its prefill speed, in seconds per token.
    pub prefill_s_per_token: f64,
    /// The adapter that the request needs there.
    pub adapter: AdapterId,
    /// The terms of its cost.
    pub terms: Terms,
    /// The cost: their weighted sum.
    pub cost_s: f64,
}

/// Why an endpoint was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It holds as much of the prompt as any that is as fit, or nearly.
    Warm,
    /// Another holds clearly more, but is so busy that computing anew is quicker for all.
    Spill,
    /// No endpoint that could have been chosen holds any of the prompt.
    Cold,
    /// There is no prompt to match.
    Load,
    /// It keeps the stored response that the request names.
    Stored,
}

/// Why no endpoint was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoEndpoint {
    /// No pool serves the model that the request names.
    UnknownModel,
    /// The pool has no endpoint.
    NoneKnown,
}

// === impl Decision ===

impl Decision {
    /// The chosen endpoint and its alternates, best first.
    pub fn ranked(&self) -> impl Iterator<Item = &Candidate> {
        std::iter::once(&self.chosen).chain(&self.alternates)
    }

    /// The same with another of its candidates as the chosen one, by its place in [`Self::ranked`].
    #[must_use]
    pub(super) fn choosing(mut self, at: usize) -> Self {
        if let Some(other) = at.checked_sub(1).filter(|other| *other < self.alternates.len()) {
            let chosen = self.alternates.remove(other);
            let before = std::mem::replace(&mut self.chosen, chosen);
            self.alternates.insert(0, before);
        }
        self
    }

    /// The value of `x-gateway-destination-endpoint`: addresses, best first.
    pub fn destinations(&self) -> String {
        let mut list = String::with_capacity((1 + self.alternates.len()) * 22);
        for candidate in self.ranked() {
            if !list.is_empty() {
                list.push(',');
            }
            list.push_str(&candidate.address);
        }
        list
    }
}

// === impl Reason ===

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::Warm, Self::Spill, Self::Cold, Self::Load, Self::Stored];

    /// Its stable name in metrics and headers.
    pub fn label(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Spill => "spill",
            Self::Cold => "cold",
            Self::Load => "load",
            Self::Stored => "stored",
        }
    }
}

// === impl NoEndpoint ===

impl NoEndpoint {
    /// Every reason.
    pub const ALL: [Self; 2] = [Self::UnknownModel, Self::NoneKnown];

    /// Its stable name in metrics and bodies.
    pub fn label(self) -> &'static str {
        match self {
            Self::UnknownModel => "model_not_found",
            Self::NoneKnown => "no_endpoint_known",
        }
    }
}

impl fmt::Display for NoEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownModel => "no pool serves this model",
            Self::NoneKnown => "no endpoint is known for this model",
        })
    }
}

impl std::error::Error for NoEndpoint {}
