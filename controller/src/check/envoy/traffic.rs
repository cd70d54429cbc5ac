//! The requests so far, by the filter's counters.

use super::stats::Stats;
use crate::check::finding::{Check, Findings, Level};
use std::cmp::Reverse;
use warmpath_core::num::float;

/// Fewest requests for which a share is meaningful.
const REQUESTS_MIN: u64 = 100;
/// Fewest predicted tokens for which the prediction is judged.
const TOKENS_MIN: u64 = 100_000;
/// Largest share of requests that may fail.
const FAILED_MAX: f64 = 0.01;
/// Largest share of requests that Envoy may place.
const FALLBACK_MAX: f64 = 0.1;
/// Largest share of prompts without a text.
const UNWRITTEN_MAX: f64 = 0.2;
/// Reasons that are named, the most frequent first.
const REASONS_MAX: usize = 3;
/// Smallest share of the predicted tokens that must be cached.
const KEPT_MIN: f64 = 0.5;

static RELOADS: Check = Check {
    id: "filter.reloads",
    worst: Level::Warning,
    why: "the filter's VM has trapped: requests in flight in that worker failed, and its counts since the last tick are \
          lost",
    remedy: "Envoy's log has the reason; please file an issue with it",
};

static WITHHELD: Check = Check {
    id: "traffic.withheld",
    worst: Level::Warning,
    why: "Envoy does not show these requests' bodies to the filter: they were routed by session or load, and the first ones \
          waited",
    remedy: "set allow_on_headers_stop_iteration: see filter.headers-stop",
};

static FALLBACK: Check = Check {
    id: "traffic.fallback",
    worst: Level::Warning,
    why: "Envoy's own policy placed these requests, because no controller had named endpoints",
    remedy: "see feed.connected and feed.endpoints",
};

static NO_ENDPOINT: Check = Check {
    id: "traffic.no-endpoint",
    worst: Level::Warning,
    why: "requests got 503, because their pool had no endpoint",
    remedy: "see `warmpath get pools`: the pool's engines are gone, or unknown to the controller",
};

static LAST_RESORT: Check = Check {
    id: "traffic.last-resort",
    worst: Level::Warning,
    why: "requests went to pools in which every endpoint was unhealthy",
    remedy: "see engine.healthy and pool.usable",
};

static FAILED: Check = Check {
    id: "traffic.failed",
    worst: Level::Warning,
    why: "clients got 429, 502, 503 or 504 after all retries",
    remedy: "see the engines' logs, and warmpath_controller_engine_outcomes by endpoint; full engines need more replicas",
};

static UNWRITTEN: Check = Check {
    id: "traffic.unwritten",
    worst: Level::Warning,
    why: "the text that engines compute is not known of many prompts of pools with a tokenizer: what engines report does not count for \
          these, and what they hold is learned",
    remedy: "docs/metrics.md says what each reason of warmpath.unwritten means, and docs/cache-knowledge.md which prompts have a text; \
             no_template and uncovered may be mended by prompt.chat_template",
};

static PREDICTION: Check = Check {
    id: "traffic.prediction",
    worst: Level::Warning,
    why: "engines had far less in their caches than the filter expected: they evict more than their metrics say, restart, \
          or run without prefix caching",
    remedy: "check that the engines run with prefix caching and that the controller scrapes their metrics, and see the note \
             on tiers in docs/configuration.md",
};

/// In the order of docs/check.md.
pub(super) static CHECKS: [&Check; 8] =
    [&RELOADS, &WITHHELD, &FALLBACK, &NO_ENDPOINT, &LAST_RESORT, &FAILED, &UNWRITTEN, &PREDICTION];

pub(super) fn check(stats: &Stats<'_>, to: &mut Findings) {
    if !stats.has_filter() {
        return;
    }
    let reloads = stats.sum("wasm.", ".vm_reload");
    to.judge(&RELOADS, reloads == 0, "", format!("{reloads} VMs were built again"));
    let decisions = stats.sum("warmpath.decision.", "");
    let none = |check, name: &str, to: &mut Findings| {
        let count = stats.of_name(name);
        to.judge(check, count == 0, "", format!("requests: {count}"));
    };
    none(&WITHHELD, "warmpath.unread.withheld", to);
    none(&NO_ENDPOINT, "warmpath.rejected.no_endpoint_known", to);
    none(&LAST_RESORT, "warmpath.last_resort", to);
    share(&FALLBACK, (stats.of_name("warmpath.decision.fallback"), decisions), FALLBACK_MAX, to);
    share(&FAILED, (stats.of_name("warmpath.failed"), decisions), FAILED_MAX, to);
    unwritten(stats, to);
    let (predicted, cached) =
        (stats.of_name("warmpath.tokens.predicted"), stats.of_name("warmpath.tokens.cached"));
    if predicted >= TOKENS_MIN {
        let seen = format!("{cached} tokens were cached of {predicted} that were expected");
        to.judge(&PREDICTION, float(cached) >= KEPT_MIN * float(predicted), "", seen);
    }
}

/// Prompts of pools whose format is known; of other pools none are counted.
fn unwritten(stats: &Stats<'_>, to: &mut Findings) {
    let mut reasons = stats.under("warmpath.unwritten.");
    reasons.sort_by_key(|(reason, count)| (Reverse(*count), *reason));
    let unwritten = reasons.iter().map(|(_, count)| count).sum::<u64>();
    let all = unwritten + stats.of_name("warmpath.written");
    if all < REQUESTS_MIN {
        return;
    }
    let named = reasons.iter().take(REASONS_MAX).map(|(reason, count)| format!("{reason} {count}"));
    let named: Vec<String> = named.collect();
    let of = if named.is_empty() { String::new() } else { format!(": {}", named.join(", ")) };
    let is_ok = float(unwritten) <= UNWRITTEN_MAX * float(all);
    to.judge(&UNWRITTEN, is_ok, "", format!("{unwritten} of {all} prompts{of}"));
}

fn share(check: &'static Check, (part, all): (u64, u64), max: f64, to: &mut Findings) {
    let is_ok = all < REQUESTS_MIN || float(part) <= max * float(all);
    to.judge(check, is_ok, "", format!("{part} of {all} requests"));
}
