//! The engines: whether their scrapes succeed, and whether what they show is understood.

use crate::api::{EndpointState, StatePage};
use crate::check::finding::{Check, Findings, Level};

/// Engines that are named one by one; of more only the number is.
const NAMED_MAX: usize = 8;

static HEALTHY: Check = Check {
    id: "engine.healthy",
    worst: Level::Warning,
    why: "the controller cannot scrape the engine, which gets no requests while others of its pool can be scraped",
    remedy: "see the engine's log, and check that the controller reaches its port and /metrics",
};

static METRICS: Check = Check {
    id: "engine.metrics",
    worst: Level::Warning,
    why: "the engine has no metrics: its load is known only from the proxies' own requests, and its memory is guessed",
    remedy: "enable its metrics: SGLang needs --enable-metrics, trtllm-serve has them under /prometheus/metrics, vLLM \
             always has them",
};

static KNOWN: Check = Check {
    id: "engine.metric-names",
    worst: Level::Warning,
    why: "the engine's metrics have unknown names, and cannot be used",
    remedy: "if it is a newer vLLM, SGLang, trtllm-serve or Triton, file an issue with its metrics page",
};

static AVOIDED: Check = Check {
    id: "engine.avoided",
    worst: Level::Warning,
    why: "requests to the engine failed while others of its pool served: it is tried again, with one request at a time",
    remedy: "see the engine's log, and warmpath_controller_engine_outcomes for the outcomes of its requests",
};

/// In the order of docs/check.md.
pub(super) static CHECKS: [&Check; 4] = [&HEALTHY, &METRICS, &KNOWN, &AVOIDED];

pub(super) fn check(state: &StatePage, to: &mut Findings) {
    for pool in &state.pools {
        let subject = format!("pool {}", pool.name);
        let all: Vec<&EndpointState> = pool.endpoints.iter().collect();
        judge(&HEALTHY, &subject, &all, |endpoint| endpoint.health == "unhealthy", to);
        judge(&AVOIDED, &subject, &all, |endpoint| endpoint.fitness == "avoided", to);
        let scraped: Vec<&EndpointState> =
            all.into_iter().filter(|endpoint| endpoint.health == "healthy").collect();
        judge(&METRICS, &subject, &scraped, |endpoint| endpoint.scrape.as_deref() == Some("alive"), to);
        let is_unknown = |endpoint: &EndpointState| {
            endpoint.scrape.as_deref() == Some("page") && endpoint.engine.is_none()
        };
        judge(&KNOWN, &subject, &scraped, is_unknown, to);
    }
}

pub(super) fn judge(
    check: &'static Check,
    subject: &str,
    endpoints: &[&EndpointState],
    is_bad: impl Fn(&EndpointState) -> bool,
    to: &mut Findings,
) {
    judge_each(check, subject, endpoints, |endpoint| is_bad(endpoint).then(|| describe(endpoint)), to);
}

/// As [`judge`], with a word on each that is bad.
pub(super) fn judge_each(
    check: &'static Check,
    subject: &str,
    endpoints: &[&EndpointState],
    fault: impl Fn(&EndpointState) -> Option<String>,
    to: &mut Findings,
) {
    if endpoints.is_empty() {
        return;
    }
    let bad: Vec<String> = endpoints.iter().filter_map(|endpoint| fault(endpoint)).collect();
    if bad.is_empty() {
        to.ok(check, subject, format!("engines: {}", endpoints.len()));
        return;
    }
    let named = bad.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = bad.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    to.bad(check, subject, format!("{} of {}: {named}{more}", bad.len(), endpoints.len()));
}

pub(super) fn describe(endpoint: &EndpointState) -> String {
    let mut text = endpoint.address.clone();
    if let Some(pod) = &endpoint.pod {
        text.push_str(&[" (", pod, ")"].concat());
    }
    if endpoint.health == "unhealthy"
        && let Some(scrape) = &endpoint.scrape
    {
        text.push_str(&[" ", scrape].concat());
    }
    text
}
