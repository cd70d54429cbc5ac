//! One request's way to an endpoint: body -> prompt -> choice -> headers and booking.

use crate::flight::Flight;
use crate::host;
use crate::metrics::{Count, Unread};
use crate::proxy::Proxy;
use crate::reply;
use warmpath_core::asked::Asked;
use warmpath_core::config::Config;
use warmpath_core::decision::{Decision, NoEndpoint};
use warmpath_core::num::{count, float, u64_len};
use warmpath_core::prompt::{Api, Request};
use warmpath_core::request::Booking;
use warmpath_core::time::Timestamp;

/// Where the choice is told to Envoy's `override_host` policy; the name is that of the Gateway API's
/// endpoint picker protocol.
pub(crate) const DESTINATION_HEADER: &str = "x-gateway-destination-endpoint";
/// Where the model's name is told to Envoy's routes; same source.
pub(crate) const MODEL_HEADER: &str = "x-gateway-model-name";

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

/// Routes one request.
pub(crate) fn route(proxy: &mut Proxy, config: &Config, incoming: &Incoming<'_>) -> Outcome {
    let now = host::now();
    proxy.read_log(now);
    let (request, body_bytes) = read(proxy, incoming);
    let model = request.as_ref().map(|request| request.model.clone());
    let asked = match Asked::new(&proxy.view, incoming.api, request, body_bytes) {
        Ok(asked) => asked,
        Err(reason) => return refuse(proxy, reason, model.as_deref().unwrap_or_default()),
    };
    let alternates = if incoming.wants_explanation { usize::MAX } else { config.alternates };
    let nonce = proxy.nonce();
    let decision = match asked.choose(&proxy.view, alternates, nonce, now) {
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
    match send(asked, proxy, config, incoming.api, &decision, now) {
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

/// Books the request for the chosen endpoint.
fn send(
    asked: Asked<'_>,
    proxy: &mut Proxy,
    config: &Config,
    api: Api,
    decision: &Decision,
    now: Timestamp,
) -> Option<Flight> {
    let chosen = decision.chosen()?;
    let summary = config.is_explaining.then(|| summary(decision, asked.prompt_tokens));
    let is_stream = asked.request.as_ref().is_some_and(|request| request.is_stream);
    let tells_usage = asked.request.as_ref().is_some_and(|request| !is_stream || request.has_usage_in_stream);
    let has_usage = api.has_prompt() && tells_usage && (!is_stream || proxy.takes_usage());
    let (booking, kinds) = Booking::new(&mut proxy.ledger, chosen, asked.chain, asked.prompt_tokens, now);
    proxy.say(kinds, now);
    Some(Flight {
        booking,
        pool: asked.pool,
        text_bytes: asked.text_bytes,
        predicted_tokens: chosen.cached_tokens,
        prompt_tokens: asked.prompt_tokens,
        is_stream,
        has_usage,
        summary,
    })
}

fn refuse(proxy: &mut Proxy, reason: NoEndpoint, model: &str) -> Outcome {
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
        "reason={} cached={}/{} share={} cost={} ttft={} considered={} endpoints={}",
        decision.reason.label(),
        cached,
        prompt_tokens,
        decimal(share, 2),
        decimal(chosen.map_or(0.0, |chosen| chosen.terms.total_s()), 6),
        decimal(chosen.map_or(0.0, |chosen| chosen.terms.ttft_s()), 6),
        u64_len(decision.considered),
        decision.destinations(),
    )
}

/// A number from zero up with so many decimals. The standard library's own way weighs 14 KB, which every VM compiles.
fn decimal(value: f64, decimals: u32) -> String {
    let unit = 10_u64.pow(decimals);
    let scaled = count(value * float(unit));
    let width = usize::try_from(decimals).unwrap_or(0);
    format!("{}.{:0width$}", scaled / unit, scaled % unit)
}

/// Whether a model's name may stand in a header: the body is the client's.
fn is_header_value(text: &str) -> bool {
    text.bytes().all(|byte| (0x21..0x7F).contains(&byte) || byte == b' ')
}
