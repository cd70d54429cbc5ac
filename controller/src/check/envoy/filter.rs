//! The filter's place and flags, and its own configuration.

use super::Wanted;
use super::walk::{Filter, Gateway};
use crate::check::finding::{Check, Findings, Level};
use crate::check::json::{at, is_type, text};
use serde_json::Value;
use warmpath_config::{Faults, plugin};
use warmpath_core::config::Config;

/// Digits of a checksum that are shown.
const SHOWN_HEX: usize = 12;

static LOADED: Check = Check {
    id: "filter.loaded",
    worst: Level::Error,
    why: "while the filter's code is missing, requests go without it, or all fail where it has no default_config (in Istio with \
          403)",
    remedy: "the log of the proxy's agent says why the download failed: the address, TLS, or another sha256 (that of an OCI \
             image is the manifest's)",
};

static STOP: Check = Check {
    id: "filter.headers-stop",
    worst: Level::Error,
    why: "the filter cannot read prompts: it routes by session or load, and caches are hit only by chance",
    remedy: "set `allow_on_headers_stop_iteration: true` beside `root_id`. A WasmPlugin cannot: use the EnvoyFilter of \
             istio/, or list your clients' session headers in `affinity_headers`",
};

static FAILURE: Check = Check {
    id: "filter.failure-policy",
    worst: Level::Warning,
    why: "with another policy, a worker whose VM has trapped rejects all requests, or routes none by cache, until Envoy \
          restarts",
    remedy: "set `failure_policy: FAIL_RELOAD` and `reload_config: {backoff: {base_interval: 0.1s}}`",
};

static ORDER: Check = Check {
    id: "filter.order",
    worst: Level::Error,
    why: "Envoy selects the engine in the router filter: a filter behind it has no influence",
    remedy: "put the filter before envoy.filters.http.router, and decompressors and authentication before the filter",
};

static GUARDS: Check = Check {
    id: "filter.guards",
    worst: Level::Error,
    why: "prefill legs pass no other filter, so engines compute prompts of requests that this filter denies afterwards; and what it \
          denies has waited and was booked like others before",
    remedy: "put authentication, authorization and rate limits before the filter: filterOrder in Envoy Gateway, another anchor or phase \
             elsewhere. Only a policy that matches x-gateway-model-name must follow it",
};

static EXT_PROC: Check = Check {
    id: "filter.ext-proc",
    worst: Level::Error,
    why: "two pickers decide on each request, and if the other one does not run, all requests fail with 500, whatever its \
          failureMode",
    remedy: "remove the ext_proc filter from this listener: istio/ has the patch",
};

static ON: Check = Check {
    id: "filter.on",
    worst: Level::Error,
    why: "the filter is off unless a route turns it on, and Envoy's own policy places the requests of all other routes",
    remedy: "turn it on for the routes to your engines, in `typed_per_filter_config` under the filter's own name",
};

static CONFIG: Check = Check {
    id: "filter.configuration",
    worst: Level::Error,
    why: "a filter with an invalid configuration does not start",
    remedy: "correct the field that is named; docs/configuration.md lists all. If the field is newer than the filter, \
             upgrade the filter first",
};

static SHA256: Check = Check {
    id: "filter.sha256",
    worst: Level::Warning,
    why: "the proxy runs another build of the filter than the controller serves",
    remedy: "put the sha256 of the controller's /wasm into the filter's configuration, or upgrade the controller",
};

/// In the order of docs/check.md.
pub(super) static CHECKS: [&Check; 9] =
    [&LOADED, &STOP, &FAILURE, &ORDER, &GUARDS, &EXT_PROC, &ON, &CONFIG, &SHA256];

/// The types of filters that deny requests by who sends them, or how many.
const GUARD_TYPES: [&str; 9] = [
    "RBAC",
    "ExtAuthz",
    "JwtAuthentication",
    "OAuth2",
    "BasicAuth",
    "ApiKeyAuth",
    "LocalRateLimit",
    "RateLimit",
    "RateLimitQuotaFilterConfig",
];

/// Checks the filter, and returns its configuration if it is valid.
pub(super) fn check(gateway: &Gateway<'_>, wanted: Option<&Wanted>, to: &mut Findings) -> Option<Config> {
    let ours = gateway.ours()?;
    let subject = gateway.subject();
    check_order(gateway, &subject, to);
    check_routes(gateway, ours, &subject, to);
    if !is_type(ours.config, "Wasm") {
        to.bad(&LOADED, &subject, missing(ours));
        return None;
    }
    if ours.is_discovered {
        to.ok(&LOADED, &subject, format!("{} was discovered", ours.name));
    }
    let plugin = at(ours.config, "/config");
    let config = check_configuration(gateway, &subject, to);
    check_guards(gateway, (config.as_ref(), wanted), &subject, to);
    check_flags(plugin, config.as_ref(), &subject, to);
    if let Some(wanted) = wanted.and_then(|wanted| wanted.sha256.as_deref()) {
        check_sha256(plugin, wanted, &subject, to);
    }
    config
}

/// The filter's own configuration. Envoy's environment is not visible here: all variables are assumed to be set.
pub(super) fn configuration(gateway: &Gateway<'_>) -> Result<Config, Faults> {
    plugin::parse(gateway.plugin_json().as_bytes(), |name| Some(name.to_owned()))
}

fn missing(filter: Filter<'_>) -> String {
    match text(filter.config, "/@type") {
        "" => format!("{} is to be discovered, and is not there", filter.name),
        other => format!("{} is {other} in place of a plugin", filter.name),
    }
}

fn check_order(gateway: &Gateway<'_>, subject: &str, to: &mut Findings) {
    let names: Vec<&str> = gateway.filters.iter().map(|filter| filter.name).collect();
    let router = gateway.filters.iter().position(|filter| {
        filter.name == "envoy.filters.http.router"
            || text(filter.config, "/@type").ends_with(".http.router.v3.Router")
    });
    let is_before = router.is_none_or(|router| gateway.place < router);
    to.judge(&ORDER, is_before, subject, names.join(", "));
    let ext_proc: Vec<&str> = gateway
        .filters
        .iter()
        .filter(|filter| !filter.is_disabled && is_type(filter.config, "ExternalProcessor"))
        .map(|filter| filter.name)
        .collect();
    let seen = if ext_proc.is_empty() { "there is none".to_owned() } else { ext_proc.join(", ") };
    to.judge(&EXT_PROC, ext_proc.is_empty(), subject, seen);
}

/// Filters behind this one that deny requests: harmful where requests are split, and else a waste.
fn check_guards(
    gateway: &Gateway<'_>,
    (config, wanted): (Option<&Config>, Option<&Wanted>),
    subject: &str,
    to: &mut Findings,
) {
    let behind = gateway.filters.iter().skip(gateway.place + 1);
    let guards = behind.filter(|filter| GUARD_TYPES.iter().any(|name| is_type(filter.config, name)));
    let guards: Vec<&str> =
        guards.filter(|filter| gateway.turns_on(**filter)).map(|filter| filter.name).collect();
    let splits = config.is_some_and(|config| config.pools.pools.iter().any(|pool| pool.transfer.is_some()))
        || wanted.is_some_and(|wanted| !wanted.leg_clusters.is_empty());
    match (guards.is_empty(), splits) {
        (true, _) => to.ok(&GUARDS, subject, "none follows"),
        (false, true) => to.bad(&GUARDS, subject, format!("{}, and requests are split", guards.join(", "))),
        (false, false) => to.add(&GUARDS, Level::Warning, subject, guards.join(", ")),
    }
}

fn check_routes(gateway: &Gateway<'_>, ours: Filter<'_>, subject: &str, to: &mut Findings) {
    let on = gateway.routes.len();
    let seen = match (ours.is_disabled, on) {
        (_, 0) => "routes: 0".to_owned(),
        (true, on) => format!("routes that turn it on: {on}"),
        (false, on) => format!("routes: {on}"),
    };
    to.judge(&ON, on > 0, subject, seen);
}

fn check_configuration(gateway: &Gateway<'_>, subject: &str, to: &mut Findings) -> Option<Config> {
    match configuration(gateway) {
        Ok(config) => {
            to.ok(&CONFIG, subject, format!("valid, pools: {}", config.pools.pools.len()));
            Some(config)
        }
        Err(faults) => {
            to.bad(&CONFIG, subject, faults.to_string().trim().replace('\n', "; "));
            None
        }
    }
}

fn check_flags(plugin: &Value, config: Option<&Config>, subject: &str, to: &mut Findings) {
    let stops = at(plugin, "/allow_on_headers_stop_iteration").as_bool().unwrap_or_default();
    let headers = config.map(|config| config.affinity_headers.join(", ")).unwrap_or_default();
    match (stops, headers.is_empty()) {
        (true, _) => to.ok(&STOP, subject, "allow_on_headers_stop_iteration is true"),
        (false, true) => {
            to.bad(&STOP, subject, "allow_on_headers_stop_iteration is not set, and no affinity_headers are");
        }
        (false, false) => {
            let seen = format!("allow_on_headers_stop_iteration is not set: affinity by {headers} only");
            to.add(&STOP, Level::Warning, subject, seen);
        }
    }
    let policy = text(plugin, "/failure_policy");
    let seen = if policy.is_empty() { "not set" } else { policy };
    to.judge(&FAILURE, policy == "FAIL_RELOAD", subject, seen);
}

/// Compares the checksum of a plugin that was fetched from the controller. Other sources hash other forms of it.
fn check_sha256(plugin: &Value, wanted: &str, subject: &str, to: &mut Findings) {
    let remote = text(plugin, "/vm_config/code/remote/sha256");
    let local = text(plugin, "/vm_config/code/local/filename");
    // Istio's agent names the file that it has fetched by its checksum.
    let of_file = local.rsplit('/').next().and_then(|name| name.strip_suffix(".wasm")).unwrap_or_default();
    let found = if remote.is_empty() { of_file } else { remote };
    if found.len() == wanted.len() && found.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let seen = format!("{}, and the controller serves {}", shown(found), shown(wanted));
        to.judge(&SHA256, found.eq_ignore_ascii_case(wanted), subject, seen);
    }
}

fn shown(sha256: &str) -> &str {
    sha256.get(..SHOWN_HEX).unwrap_or(sha256)
}
