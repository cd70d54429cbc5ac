//! The properties of a request that routing uses: its pool, its chain, its size.

use super::NoEndpoint;
use crate::ids::{AdapterId, CellHash, EndpointId, ResponseId, SessionKey, Slot};
use crate::limits::CELLS_PER_PROMPT_MAX;
use crate::num::{count, float_len, u64_len};
use crate::prompt::{
    Api, Measured, Media, MediaPart, Request, Root, Size, Unwritten, cells_of, session_cells, written_cells,
};
use crate::time::Timestamp;
use crate::view::{Leg, Match, ModelMatch, Pool, View};

/// Text in a body whose prompt has to be guessed from its length, as a share: the rest is JSON around it.
const TEXT_SHARE: f64 = 0.95;

/// See the module. It borrows the view that found its pool, so that the two cannot be mixed up.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    /// The prompt's chain; empty where there is none to match.
    pub chain: Vec<CellHash>,
    /// Tokens of the prompt, counted or estimated.
    pub prompt_tokens: u64,
    /// Parts of the prompt that are not text.
    pub media: Media,
    /// Where those begin, in order.
    pub parts: Vec<MediaPart>,
    /// Prompt text in bytes; `None` where the prompt was given in tokens.
    pub text_bytes: Option<u64>,
    /// Most tokens that the response may have, if stated.
    pub output_tokens_max: Option<u64>,
    /// The only endpoint that can serve it, if it is in the pool: the one that keeps the stored response that it names.
    pub pinned: Option<Slot>,
    /// The endpoints that it is to go to, if it can: those where its pool's gate has a place for it. Empty: any.
    pub places: Vec<Slot>,
    /// What the request's objective makes of it: higher is more important.
    pub priority: i32,
    /// Whether the chain is over the text that the engine computes; `None`: the pool has no format of prompts.
    pub written: Option<Result<(), Unwritten>>,
    /// The LoRA adapter that it needs.
    pub adapter: AdapterId,
    /// Whether the chain is of a kind that engines do not report: what counts is what was learned.
    pub(super) is_learned: bool,
    view: &'a View,
    pool: &'a Pool,
    model: &'a str,
    target: Option<&'a str>,
}

// === impl Query ===

impl<'a> Query<'a> {
    /// The query of a request whose body had `body_bytes`; `None` if it could not be read.
    pub fn of_request(
        view: &'a View,
        api: Api,
        request: Option<&'a Request<'_>>,
        body_bytes: usize,
        now: Timestamp,
    ) -> Result<Self, NoEndpoint> {
        let model = request.map_or("", |request| request.model.as_ref());
        let stored = request.and_then(Request::previous_response).map(ResponseId::of);
        let keeper = stored.and_then(|response| view.keeper(response));
        let keeping = keeper.and_then(|slot| view.pools_for(model).find(|found| found.pool.has(slot)));
        let conversation = || request.map_or(0, Request::conversation);
        let cluster = request.and_then(|request| request.cluster);
        let ModelMatch { pool, variant } =
            keeping.map_or_else(|| pool_of(view, model, (cluster, now), conversation), Ok)?;
        let mut query = Self::new(view, pool, model);
        query.target = request.and_then(|request| request.target.as_deref());
        let variant = query.target.map_or(variant, |target| pool.variant(target));
        query.adapter = pool.adapter(variant);
        let Some(request) = request else {
            // What cannot be read is taken for text.
            return Ok(query.sized(unread_size(body_bytes)));
        };
        let measured = if api.has_prompt() {
            let salt = request.cache_salt.as_deref().unwrap_or_default();
            let root = Root::new(pool.name(), variant, salt);
            query.chain.reserve_exact((body_bytes / view.cell_bytes()).clamp(1, CELLS_PER_PROMPT_MAX));
            query.measure(request, root, now)
        } else {
            Measured { size: unread_size(body_bytes), ..Measured::default() }
        };
        query = query.sized(measured.size);
        query.parts = measured.parts;
        if let Some(tokens) = request.exact_tokens() {
            (query.prompt_tokens, query.text_bytes) = (tokens, None);
        }
        query.output_tokens_max = request.output_tokens_max;
        query.pinned = keeper.filter(|slot| pool.has(*slot));
        Ok(query)
    }

    /// The query of a request whose prompt cannot be read, from the size of its body and its session.
    pub fn of_session(
        view: &'a View,
        model: &'a str,
        body_bytes: usize,
        session: Option<SessionKey>,
        (cluster, now): (Option<&str>, Timestamp),
    ) -> Result<Self, NoEndpoint> {
        // Without a session, each request is a conversation.
        let conversation = || session.map_or(now.us(), |SessionKey(key)| key);
        let ModelMatch { pool, variant } = pool_of(view, model, (cluster, now), conversation)?;
        let mut query = Self::new(view, pool, model).sized(unread_size(body_bytes));
        // An estimate teaches nothing about the bytes of a token.
        query.text_bytes = None;
        query.adapter = pool.adapter(variant);
        if let Some(session) = session {
            let root = Root::new(pool.name(), variant, "");
            session_cells(session, root, body_bytes / view.cell_bytes(), &mut query.chain);
            query.is_learned = true;
        }
        Ok(query)
    }

    /// The query of a request for a stored response, by the endpoint that keeps it. `None`: no pool has it.
    pub fn of_stored(view: &'a View, response: ResponseId) -> Option<Self> {
        let slot = view.keeper(response)?;
        let pool = view.pools().iter().find(|pool| pool.has(slot))?;
        Some(Self { pinned: Some(slot), ..Self::new(view, pool, "") })
    }

    /// The query of a prompt that is hashed already.
    pub fn of_chain(
        view: &'a View,
        model: &'a str,
        chain: Vec<CellHash>,
        size: Size,
        output_tokens_max: Option<u64>,
        now: Timestamp,
    ) -> Result<Self, NoEndpoint> {
        let conversation = || chain.first().map_or(now.us(), |cell| cell.0);
        let ModelMatch { pool, variant } = pool_of(view, model, (None, now), conversation)?;
        let adapter = pool.adapter(variant);
        Ok(Self { chain, output_tokens_max, adapter, ..Self::new(view, pool, model).sized(size) })
    }

    /// Sets the priority of the objective that the request names.
    #[must_use]
    pub fn with_objective(self, objective: Option<&str>) -> Self {
        let priority = objective.map_or(0, |objective| self.pool.priority_of(objective));
        self.with_priority(priority)
    }

    /// Sets the priority: higher is more important.
    #[must_use]
    pub fn with_priority(self, priority: i32) -> Self {
        Self { priority, ..self }
    }

    /// Prefers these endpoints to all that are no fitter.
    #[must_use]
    pub fn at(self, places: &[EndpointId]) -> Self {
        let slots = places.iter().filter_map(|id| self.view.slot(*id));
        Self { places: slots.filter(|slot| self.pool.takes(Leg::Whole, *slot)).collect(), ..self }
    }

    fn new(view: &'a View, pool: &'a Pool, model: &'a str) -> Self {
        Self {
            chain: Vec::new(),
            prompt_tokens: 0,
            media: Media::default(),
            parts: Vec::new(),
            text_bytes: None,
            output_tokens_max: None,
            pinned: None,
            places: Vec::new(),
            priority: 0,
            written: None,
            adapter: AdapterId::BASE,
            is_learned: false,
            view,
            pool,
            model,
            target: None,
        }
    }

    /// Fills the chain: with the cells of the text that the engine computes, if that is known.
    fn measure(&mut self, request: &Request<'_>, root: Root, now: Timestamp) -> Measured {
        let cell_bytes = self.view.cell_bytes();
        if let Some(format) = self.pool.format() {
            match written_cells(request, root, format, (cell_bytes, now), &mut self.chain) {
                Ok(measured) => {
                    self.written = Some(Ok(()));
                    return measured;
                }
                Err(reason) => (self.written, self.is_learned) = (Some(Err(reason)), true),
            }
        }
        cells_of(request, root, cell_bytes, &mut self.chain)
    }

    /// How far what each endpoint holds follows the prompt.
    pub(super) fn matches(&self) -> Vec<Match> {
        let mut found = Vec::new();
        if self.is_learned {
            self.view.find_learned(&self.chain, &mut found);
        } else {
            self.view.find(&self.chain, &mut found);
        }
        found
    }

    fn sized(self, size: Size) -> Self {
        let Size { text_bytes, media } = size;
        Self { prompt_tokens: self.pool.tokens_of(size), media, text_bytes: Some(text_bytes), ..self }
    }

    /// Tokens that so many cells from the first stand for, with the parts between them. The last token of a prompt is always
    /// computed, as engines need one to start from.
    pub fn tokens_in(&self, cells: u32) -> u64 {
        let bytes = u64::from(cells) * u64_len(self.view.cell_bytes());
        let mut media = Media::default();
        for part in self.parts.iter().take_while(|part| part.cell < cells) {
            media.add(part.kind);
        }
        self.pool.tokens_of(Size { text_bytes: bytes, media }).min(self.prompt_tokens.saturating_sub(1))
    }

    /// The view.
    pub fn view(&self) -> &'a View {
        self.view
    }

    /// The pool that serves the model.
    pub fn pool(&self) -> &'a Pool {
        self.pool
    }

    /// The model that replaces the one that the request names.
    pub fn target(&self) -> Option<&'a str> {
        self.target
    }

    /// The model that the request names; empty when it names none.
    pub fn model(&self) -> &'a str {
        self.model
    }
}

fn unread_size(body_bytes: usize) -> Size {
    Size { text_bytes: count(float_len(body_bytes) * TEXT_SHARE), ..Size::default() }
}

/// The pool for a model; a request without a model goes to the first.
fn pool_of<'a>(
    view: &'a View,
    model: &'a str,
    at: (Option<&str>, Timestamp),
    conversation: impl FnOnce() -> u64,
) -> Result<ModelMatch<'a>, NoEndpoint> {
    if view.pools().is_empty() {
        // Before the first pools arrive, the models are unknown.
        return Err(NoEndpoint::NoneKnown);
    }
    let none = if view.is_open_to_models() { NoEndpoint::NoneKnown } else { NoEndpoint::UnknownModel };
    let found = match view.pools().first() {
        Some(pool) if model.is_empty() => Some(ModelMatch { pool, variant: "" }),
        _ => view.pool_for(model, at, conversation),
    };
    found.ok_or(none)
}
