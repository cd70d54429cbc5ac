//! What is to become of a request: the endpoint for all of it, and the pair for its legs where that is predicted to cost less.
//!
//! Between the choice, which borrows the view, and the sending, which changes it.

use super::exchange::Estimate;
use super::reasons::StaysWhole;
use crate::admission::Asked;
use crate::ids::CellHash;
use crate::prompt::Api;
use crate::routing::{Decision, NoEndpoint, Options, Query, Reason, Split, choose, split};
use crate::split::Whole;
use crate::wire::{HeldFor, Transfer};

/// What is to become of a request.
#[derive(Debug)]
pub(super) struct Planned {
    /// Where it goes if it stays whole.
    pub(super) whole: Routed,
    /// Where its legs go and how KV is passed on, or why it stays whole; `None`: nothing in its pool is split.
    pub(super) split: Option<Result<(Split, Transfer), StaysWhole>>,
}

/// A request that goes on.
#[derive(Debug)]
pub(super) struct Routed {
    /// Where to; `None`: Envoy chooses.
    pub(super) decision: Option<Decision>,
    /// The model asked for; empty when none was named.
    pub(super) model: String,
    /// The model that replaces it.
    pub(super) target: Option<String>,
    /// The name of the pool that serves it.
    pub(super) pool: String,
    pub(super) chain: Vec<CellHash>,
    pub(super) size: Estimate,
    pub(super) traits: Traits,
    /// What it has asked of its pool's gate, if that follows its conversation.
    pub(super) asked: Option<Asked>,
    /// What it was held for and how long, in milliseconds.
    pub(super) waited: Option<(HeldFor, u64)>,
    /// Whether the pool may have endpoints that nobody knows.
    pub(super) is_open: bool,
}

/// What is known of a request besides its prompt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traits {
    /// The format of request and response; `None` where the response has no bytes.
    pub(super) api: Option<Api>,
    pub(super) is_stream: bool,
    /// Whether the response will report its usage.
    pub(super) has_usage: bool,
    /// Whether it is a request for work.
    pub(super) is_judged: bool,
}

// === impl Planned ===

impl Planned {
    /// The plan of a request whose pool is known. Where more endpoints of it may exist than are known, only a cached prompt is worth
    /// one of those.
    pub(super) fn of_query(query: Query<'_>, traits: Traits, options: &Options) -> Result<Self, NoEndpoint> {
        let is_open = query.view().is_open(query.pool());
        let whole = match choose(&query, options) {
            Ok(decision) if is_open && !matches!(decision.reason, Reason::Warm | Reason::Stored) => Ok(None),
            Err(NoEndpoint::NoneKnown) if is_open => Ok(None),
            decision => decision.map(Some),
        };
        let transfer = query.pool().transfer().filter(|_| !is_open);
        let split = transfer.map(|transfer| {
            if query.pinned.is_some() {
                return Err(StaysWhole::Body(Whole::Stored));
            }
            let whole = whole.as_ref().ok().and_then(Option::as_ref);
            let split = split(&query, options, whole).map_err(StaysWhole::Cost)?;
            Ok((split, transfer.clone()))
        });
        let is_split = matches!(split, Some(Ok(_)));
        let decision = whole.or_else(|reason| if is_split { Ok(None) } else { Err(reason) })?;
        Ok(Self { whole: Routed::new(query, decision, traits), split })
    }
}

// === impl Routed ===

impl Routed {
    /// Of a request whose pool is known, for an endpoint or for one that Envoy chooses.
    fn new(query: Query<'_>, decision: Option<Decision>, traits: Traits) -> Self {
        Self {
            decision,
            model: query.model().to_owned(),
            target: query.target().map(str::to_owned),
            pool: query.pool().name().to_owned(),
            size: Estimate {
                text_bytes: query.text_bytes,
                media: query.media,
                prompt_tokens: query.prompt_tokens,
                ..Estimate::default()
            },
            is_open: query.view().is_open(query.pool()),
            chain: query.chain,
            traits,
            asked: None,
            waited: None,
        }
    }

    /// Whether neither an endpoint is known that takes it whole, nor can Envoy know one.
    pub(super) fn is_lost(&self) -> bool {
        self.decision.is_none() && !self.is_open
    }

    /// Of a request for a model of which nothing is known. Its chain hangs on its pool, so it has none.
    pub(super) fn of_model(model: &str, traits: Traits) -> Self {
        let (pool, model, chain) = (model.to_owned(), model.to_owned(), Vec::new());
        let (size, is_open) = (Estimate::default(), true);
        let (decision, target, asked, waited) = (None, None, None, None);
        Self { decision, model, target, pool, chain, size, traits, asked, waited, is_open }
    }
}
