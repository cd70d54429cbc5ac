//! The routes to engines: retries, time limits, and what is public.

use super::walk::{Gateway, Route};
use crate::check::finding::{Check, Findings, Level};
use crate::check::json::{at, duration, items, number, text};
use serde_json::Value;
use std::time::Duration;

/// Envoy's own time limit of a response.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(15);
/// A time limit below this cuts ordinary responses.
const TIMEOUT_SHORT: Duration = Duration::from_mins(1);
/// Envoy's own limit of silence.
const IDLE_DEFAULT: Duration = Duration::from_mins(5);
/// Longest plausible silence of a response that is not streamed.
const IDLE_MIN: Duration = Duration::from_mins(30);
/// Envoy's own base of the back-off.
const BACKOFF_DEFAULT: Duration = Duration::from_millis(25);
/// Longest acceptable wait before a retry.
const BACKOFF_MAX: Duration = Duration::from_millis(10);
/// The retry conditions that an engine's failures need.
const CONDITIONS: [&str; 3] = ["connect-failure", "refused-stream", "reset"];
/// Each of these covers all of them: Envoy takes every lost connection and stream for a reset, and a reset for a 5xx.
const COVER_ALL: [&str; 2] = ["reset", "5xx"];
/// The statuses of an engine that is full or shutting down.
const STATUS_CODES: [u64; 2] = [429, 503];

static RETRIES: Check = Check {
    id: "route.retries",
    worst: Level::Warning,
    why: "when an engine is full or has just died, its error reaches the client although another engine is free",
    remedy: "give the route a retry_policy with num_retries: 3, as in envoy/envoy.yaml",
};

static RETRY_ON: Check = Check {
    id: "route.retry-on",
    worst: Level::Warning,
    why: "an engine that refuses connections, or dies before its first byte, fails the request",
    remedy: "list connect-failure, refused-stream and reset in retry_on",
};

static RETRY_CODES: Check = Check {
    id: "route.retry-codes",
    worst: Level::Warning,
    why: "an engine that is full or shutting down (429, 503) fails the request although others are free",
    remedy: "set retriable_status_codes: [429, 503]; where the filter cannot set headers, also list retriable-status-codes \
             in retry_on",
};

static BACKOFF: Check = Check {
    id: "route.retry-backoff",
    worst: Level::Warning,
    why: "each retry goes to another engine, so there is nothing to wait for",
    remedy: "set retry_back_off: {base_interval: 0.001s, max_interval: 0.010s}",
};

static TIMEOUT: Check = Check {
    id: "route.timeout",
    worst: Level::Error,
    why: "Envoy cuts a response that takes longer than this, even while it streams",
    remedy: "set the route's timeout to 0s",
};

static IDLE: Check = Check {
    id: "route.idle-timeout",
    worst: Level::Warning,
    why: "a response that is not streamed is silent until its last token, so Envoy ends it with 504",
    remedy: "set the route's idle_timeout, or the connection manager's stream_idle_timeout, to an hour",
};

static PUBLIC: Check = Check {
    id: "route.public-paths",
    worst: Level::Warning,
    why: "engines serve metrics, adapters, sleep and cache controls on the same port, and the route exposes all paths to \
          clients",
    remedy: "match only the paths of the inference APIs: \"What is public\" in envoy/README.md",
};

/// In the order of docs/check.md.
pub(super) static CHECKS: [&Check; 7] =
    [&RETRIES, &RETRY_ON, &RETRY_CODES, &BACKOFF, &TIMEOUT, &IDLE, &PUBLIC];

pub(super) fn check(gateway: &Gateway<'_>, to: &mut Findings) {
    for route in &gateway.routes {
        check_retries(route, to);
        check_times(gateway, route, to);
        if !gateway.is_sidecar() {
            check_public(route, to);
        }
    }
}

fn check_public(route: &Route<'_>, to: &mut Findings) {
    let matches_all =
        text(route.matches, "/prefix") == "/" || text(route.matches, "/safe_regex/regex") == ".*";
    let mut headers = items(route.matches, "/headers").iter();
    let is_open = matches_all && !headers.any(|header| text(header, "/name") == ":path");
    let seen = if is_open { "it matches every path" } else { "it matches some paths" };
    to.judge(&PUBLIC, !is_open, &route.name, seen);
}

fn check_retries(route: &Route<'_>, to: &mut Findings) {
    let of_route = at(route.action, "/retry_policy");
    let policy = if of_route.is_null() { at(route.host, "/retry_policy") } else { of_route };
    let conditions: Vec<&str> = text(policy, "/retry_on").split(',').map(str::trim).collect();
    let count = number(policy, "/num_retries").unwrap_or(1);
    if policy.is_null() || count == 0 || conditions == [""] {
        to.bad(&RETRIES, &route.name, "there are none");
        return;
    }
    to.ok(&RETRIES, &route.name, format!("retries: {count}"));
    let covers_all = COVER_ALL.into_iter().any(|condition| conditions.contains(&condition));
    let has = |wanted: &&str| covers_all || conditions.contains(wanted);
    let lacking: Vec<&str> = CONDITIONS.into_iter().filter(|wanted| !has(wanted)).collect();
    let seen =
        if lacking.is_empty() { conditions.join(",") } else { format!("lacks {}", lacking.join(", ")) };
    to.judge(&RETRY_ON, lacking.is_empty(), &route.name, seen);
    let codes: Vec<u64> = items(policy, "/retriable_status_codes").iter().filter_map(Value::as_u64).collect();
    let lacking: Vec<String> =
        STATUS_CODES.into_iter().filter(|code| !codes.contains(code)).map(|code| code.to_string()).collect();
    let seen =
        if lacking.is_empty() { "429, 503".to_owned() } else { format!("lacks {}", lacking.join(", ")) };
    to.judge(&RETRY_CODES, lacking.is_empty(), &route.name, seen);
    let set = duration(policy, "/retry_back_off/base_interval");
    let base = set.unwrap_or(BACKOFF_DEFAULT);
    let seen = format!("{} ms{}", base.as_millis(), if set.is_some() { "" } else { ", Envoy's own" });
    to.judge(&BACKOFF, base <= BACKOFF_MAX, &route.name, seen);
}

fn check_times(gateway: &Gateway<'_>, route: &Route<'_>, to: &mut Findings) {
    let set = duration(route.action, "/timeout");
    let timeout = set.unwrap_or(TIMEOUT_DEFAULT);
    let level = match timeout {
        Duration::ZERO => Level::Ok,
        timeout if timeout >= TIMEOUT_SHORT => Level::Warning,
        _ => Level::Error,
    };
    to.add(&TIMEOUT, level, &route.name, limit(timeout, set.is_some()));
    let set =
        duration(route.action, "/idle_timeout").or_else(|| duration(gateway.manager, "/stream_idle_timeout"));
    let idle = set.unwrap_or(IDLE_DEFAULT);
    to.judge(&IDLE, idle.is_zero() || idle >= IDLE_MIN, &route.name, limit(idle, set.is_some()));
}

fn limit(limit: Duration, is_set: bool) -> String {
    if limit.is_zero() {
        return "none".to_owned();
    }
    format!("{} s{}", limit.as_secs(), if is_set { "" } else { ", Envoy's own" })
}
