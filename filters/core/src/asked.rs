//! A request as it is asked of a view: its pool, its chain, its size. The step between the body and the
//! choice, the same in the filter and in the controller's explanations.

use crate::decision::{Decision, NoEndpoint};
use crate::ids::CellHash;
use crate::limits::CELLS_PER_PROMPT_MAX;
use crate::num::{count, float_len};
use crate::pick::{Ask, choose};
use crate::prompt::{Api, Request, Root, cells_of};
use crate::time::Timestamp;
use crate::view::{ModelMatch, View};

/// Text in a body whose prompt has to be guessed from its length, as a share: the rest is JSON around it.
const TEXT_SHARE: f64 = 0.95;

/// See the module.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The request, if its body could be read.
    pub request: Option<Request<'a>>,
    /// The prompt's chain; empty where there is none to match.
    pub chain: Vec<CellHash>,
    /// Tokens of the prompt, counted or estimated.
    pub prompt_tokens: u64,
    /// Prompt text in bytes, estimated; zero where the prompt was given in tokens.
    pub text_bytes: u64,
    /// The pool's name.
    pub pool: String,
    /// The adapter; empty for the base model.
    pub adapter: String,
}

// === impl Asked ===

impl<'a> Asked<'a> {
    /// Finds the pool and hashes the prompt of a request whose body had `body_bytes`.
    pub fn new(
        view: &View,
        api: Api,
        request: Option<Request<'a>>,
        body_bytes: usize,
    ) -> Result<Self, NoEndpoint> {
        let found = pool_of(view, model(request.as_ref()))?;
        let mut chain = Vec::new();
        if let Some(request) = request.as_ref().filter(|_| api.has_prompt()) {
            let salt = request.cache_salt.as_deref().unwrap_or_default();
            let root = Root::new(found.pool.name(), found.adapter, salt);
            chain.reserve_exact((body_bytes / view.cell_bytes()).clamp(1, CELLS_PER_PROMPT_MAX));
            cells_of(request, root, view.cell_bytes(), &mut chain);
        }
        let prompt_bytes = count(float_len(body_bytes) * TEXT_SHARE);
        let exact = request.as_ref().and_then(Request::exact_tokens);
        let prompt_tokens = exact.unwrap_or_else(|| found.pool.tokens(prompt_bytes));
        let text_bytes = if exact.is_some() { 0 } else { prompt_bytes };
        let (pool, adapter) = (found.pool.name().to_owned(), found.adapter.to_owned());
        Ok(Self { request, chain, prompt_tokens, text_bytes, pool, adapter })
    }

    /// The model that the request names; empty when it names none.
    pub fn model(&self) -> &str {
        model(self.request.as_ref())
    }

    /// Chooses an endpoint and up to `alternates` more; see [`Ask`] for `nonce` and `now`.
    pub fn choose(
        &self,
        view: &View,
        alternates: usize,
        nonce: u64,
        now: Timestamp,
    ) -> Result<Decision, NoEndpoint> {
        let ask = Ask {
            pool: pool_of(view, self.model())?.pool,
            chain: &self.chain,
            prompt_tokens: self.prompt_tokens,
            output_tokens_max: self.request.as_ref().and_then(|request| request.output_tokens_max),
            alternates,
            nonce,
            now,
            without: None,
        };
        choose(view, &ask)
    }
}

fn model<'r>(request: Option<&'r Request<'_>>) -> &'r str {
    request.map_or("", |request| request.model.as_ref())
}

/// The pool for a model; what names none goes to the first.
fn pool_of<'v>(view: &'v View, model: &'v str) -> Result<ModelMatch<'v>, NoEndpoint> {
    // Before the first pools have come nobody can tell which models there are.
    let first = view.pools().first().ok_or(NoEndpoint::NoneKnown)?;
    if model.is_empty() {
        return Ok(ModelMatch { pool: first, adapter: "" });
    }
    view.pool_for(model).ok_or(NoEndpoint::UnknownModel)
}
