//! One request's way to an endpoint: body -> prompt -> choice -> headers and booking.

use crate::host;
use crate::http::Flight;
use crate::metrics::{Count, Unread};
use crate::proxy::Proxy;
use crate::reply;
use warmpath_core::config::Config;
use warmpath_core::decision::{Decision, NoEndpoint};
use warmpath_core::ids::CellHash;
use warmpath_core::num::{count, float, float_len, u64_len};
use warmpath_core::pick::{Ask, choose};
use warmpath_core::prompt::{Api, Request, Root, cells_of};
use warmpath_core::request::Booking;
use warmpath_core::view::ModelMatch;

/// Where the choice is told to Envoy's `override_host` policy; the name is that of the Gateway API's
/// endpoint picker protocol.
pub(crate) const DESTINATION_HEADER: &str = "x-gateway-destination-endpoint";
/// Where the model's name is told to Envoy's routes; same source.
pub(crate) const MODEL_HEADER: &str = "x-gateway-model-name";
/// JSON around the text of a prompt, as a share of the body: what is taken off when only the body's length
/// is known.
const TEXT_SHARE: f64 = 0.95;

/// What became of a request.
pub(crate) enum Outcome {
    /// It goes to an endpoint.
    Sent(Box<Flight>),
    /// It was answered here.
    Answered,
}

/// What is known of a request when it is routed.
pub(crate) struct Incoming<'a> {
    /// The format that the path names.
    pub(crate) api: Api,
    /// The body, or why there is none to read.
    pub(crate) body: Result<&'a [u8], Unread>,
    /// Whether the client wants the decision instead of an answer.
    pub(crate) wants_explanation: bool,
}

/// What was made of a request before an endpoint is chosen.
struct Asked<'a> {
    request: Option<Request<'a>>,
    chain: Vec<CellHash>,
    prompt_tokens: u64,
    /// See [`Flight::text_bytes`].
    text_bytes: u64,
    pool: String,
    adapter: String,
}

/// Routes one request.
pub(crate) fn route(proxy: &mut Proxy, config: &Config, incoming: &Incoming<'_>) -> Outcome {
    let now_us = host::now_us();
    proxy.read_log(now_us / 1000);
    let (request, body_bytes) = read(proxy, incoming);
    let asked = match Asked::new(proxy, config, incoming.api, request, body_bytes) {
        Ok(asked) => asked,
        Err(model) => return refuse(proxy, NoEndpoint::UnknownModel, &model),
    };
    let decision = match asked.choose(proxy, config, incoming.wants_explanation, now_us / 1000) {
        Ok(decision) => decision,
        Err(reason) => return refuse(proxy, reason, asked.model()),
    };
    if incoming.wants_explanation {
        let explanation = decision.explain(&asked.pool, &asked.adapter, asked.prompt_tokens);
        reply::json(&serde_json::to_vec(&explanation).unwrap_or_default());
        return Outcome::Answered;
    }
    proxy.metrics.count(Count::Decision(decision.reason));
    host::set_request_header(DESTINATION_HEADER, &decision.destinations());
    if !asked.model().is_empty() && is_header_value(asked.model()) {
        host::set_request_header(MODEL_HEADER, asked.model());
    }
    match asked.send(proxy, config, incoming.api, &decision, now_us) {
        Some(flight) => Outcome::Sent(Box::new(flight)),
        None => refuse(proxy, NoEndpoint::NoneKnown, ""),
    }
}

/// Parses the body, and counts one that cannot be read.
fn read<'a>(proxy: &mut Proxy, incoming: &Incoming<'a>) -> (Option<Request<'a>>, usize) {
    let parsed = incoming.body.and_then(|body| {
        let request = Request::parse(incoming.api, body).map_err(Unread::Prompt)?;
        Ok((Some(request), body.len()))
    });
    parsed.unwrap_or_else(|unread| {
        proxy.metrics.count(Count::Unread(unread));
        (None, 0)
    })
}

// === impl Asked ===

impl<'a> Asked<'a> {
    /// Finds the pool and hashes the prompt. `Err`: nobody serves the model, whose name is returned.
    fn new(
        proxy: &Proxy,
        config: &Config,
        api: Api,
        request: Option<Request<'a>>,
        body_bytes: usize,
    ) -> Result<Self, String> {
        let model = request.as_ref().map_or("", |request| request.model.as_ref());
        let found = pool_of(proxy, model).ok_or_else(|| model.to_owned())?;
        let mut chain = Vec::new();
        if let Some(request) = request.as_ref().filter(|_| api.has_prompt()) {
            let salt = request.cache_salt.as_deref().unwrap_or_default();
            let root = Root::new(found.pool.name(), found.adapter, salt);
            cells_of(request, root, config.cell_bytes, &mut chain);
        }
        let prompt_bytes = count(float_len(body_bytes) * TEXT_SHARE);
        let exact = request.as_ref().and_then(Request::exact_tokens);
        let prompt_tokens = exact.unwrap_or_else(|| found.pool.tokens(prompt_bytes));
        let text_bytes = if exact.is_some() { 0 } else { prompt_bytes };
        let (pool, adapter) = (found.pool.name().to_owned(), found.adapter.to_owned());
        Ok(Self { request, chain, prompt_tokens, text_bytes, pool, adapter })
    }

    fn model(&self) -> &str {
        self.request.as_ref().map_or("", |request| request.model.as_ref())
    }

    fn choose(
        &self,
        proxy: &mut Proxy,
        config: &Config,
        shows_all: bool,
        now_ms: u64,
    ) -> Result<Decision, NoEndpoint> {
        let nonce = proxy.nonce();
        let found = pool_of(proxy, self.model()).ok_or(NoEndpoint::UnknownModel)?;
        let ask = Ask {
            pool: found.pool,
            chain: &self.chain,
            prompt_tokens: self.prompt_tokens,
            output_tokens_max: self.request.as_ref().and_then(|request| request.output_tokens_max),
            alternates: if shows_all { usize::MAX - 1 } else { config.alternates },
            nonce,
            now_ms,
        };
        choose(&proxy.view, &ask)
    }

    /// Books the request for the chosen endpoint.
    fn send(
        self,
        proxy: &mut Proxy,
        config: &Config,
        api: Api,
        decision: &Decision,
        now_us: u64,
    ) -> Option<Flight> {
        let chosen = decision.chosen()?;
        let queued =
            proxy.view.endpoint(chosen.slot).map_or(0, |endpoint| endpoint.promised().prefill_tokens);
        let summary = config.is_explaining.then(|| summary(decision, self.prompt_tokens));
        let is_stream = self.request.as_ref().is_some_and(|request| request.is_stream);
        let has_usage = api.has_prompt()
            && self.request.as_ref().is_some_and(|request| !request.is_stream || request.has_usage_in_stream);
        let (booking, kinds) =
            Booking::new(&mut proxy.ledger, chosen, self.chain, self.prompt_tokens, queued, now_us);
        proxy.say(kinds, now_us / 1000);
        Some(Flight {
            booking,
            pool: self.pool,
            text_bytes: self.text_bytes,
            predicted_tokens: chosen.cached_tokens,
            prompt_tokens: self.prompt_tokens,
            is_stream,
            has_usage,
            summary,
        })
    }
}

/// The pool for a model; what names none goes to the first.
fn pool_of<'a>(proxy: &'a Proxy, model: &'a str) -> Option<ModelMatch<'a>> {
    if model.is_empty() {
        return proxy.view.pools().first().map(|pool| ModelMatch { pool, adapter: "" });
    }
    proxy.view.pool_for(model)
}

fn refuse(proxy: &mut Proxy, reason: NoEndpoint, model: &str) -> Outcome {
    // Before the first pools have come nobody can tell which models there are.
    let reason = if proxy.view.pools().is_empty() { NoEndpoint::NoneKnown } else { reason };
    proxy.metrics.count(Count::Rejected(reason));
    reply::no_endpoint(reason, model);
    Outcome::Answered
}

/// The decision in one line, for `x-warmpath-decision`.
fn summary(decision: &Decision, prompt_tokens: u64) -> String {
    let chosen = decision.chosen();
    let cached = chosen.map_or(0, |chosen| chosen.cached_tokens);
    let share = if prompt_tokens == 0 { 0.0 } else { float(cached) / float(prompt_tokens) };
    format!(
        "reason={} cached={}/{} share={:.2} cost={:.6} ttft={:.6} considered={} endpoints={}",
        decision.reason.label(),
        cached,
        prompt_tokens,
        share,
        chosen.map_or(0.0, |chosen| chosen.terms.total_s()),
        chosen.map_or(0.0, |chosen| chosen.terms.ttft_s()),
        u64_len(decision.considered),
        decision.destinations(),
    )
}

/// Whether a model's name may stand in a header: the body is the client's.
fn is_header_value(text: &str) -> bool {
    text.bytes().all(|byte| (0x21..0x7F).contains(&byte) || byte == b' ')
}
