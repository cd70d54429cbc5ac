//! The controller as a process: whether it is ready, its version, its clock, and what it could not do.

use super::{ClockDifference, Pages};
use crate::check::finding::{Check, Findings, Level};
use std::collections::BTreeMap;
use std::time::Duration;

/// Largest difference of clocks that may be due to latency and to the header's whole seconds.
const CLOCK_MAX: Duration = Duration::from_secs(5);

static READY: Check = Check {
    id: "controller.ready",
    worst: Level::Error,
    why: "a controller that is not ready has not yet seen its pools and engines, or is not allowed to",
    remedy: "wait for the first scrapes; in a cluster, see kubernetes.watch",
};

static VERSION: Check = Check {
    id: "controller.version",
    worst: Level::Warning,
    why: "this command and the controller have different versions, so the command may misread what the controller reports",
    remedy: "use the `warmpath` of the controller's version",
};

static CLOCK: Check = Check {
    id: "controller.clock",
    worst: Level::Warning,
    why: "with different clocks, the logs and metrics of the two hosts cannot be compared, and certificates seem to expire \
          early or late",
    remedy: "synchronise the clocks of both hosts (NTP)",
};

static CONFIG: Check = Check {
    id: "controller.configuration",
    worst: Level::Warning,
    why: "the controller rejected a change of its file, and keeps the previous one",
    remedy: "see the controller's log, or run `warmpath controller --config FILE --check`",
};

static TOKEN: Check = Check {
    id: "controller.token",
    worst: Level::Warning,
    why: "proxies or replicas without the right token were turned away: the controller sends them nothing, and believes \
          nothing of them",
    remedy: "give the proxies the token of the controller's token_file, in the filter's configuration or through Envoy: \
             \"TLS and token\" in envoy/README.md. After a change of the Secret, the old token stays valid for a while",
};

static TLS: Check = Check {
    id: "controller.tls",
    worst: Level::Warning,
    why: "connections to the gRPC port failed in their TLS handshake",
    remedy: "give the controller's cluster in Envoy a transport_socket with the certificate's CA, or remove `tls` from the \
             controller's file",
};

static SECRETS: Check = Check {
    id: "controller.secrets",
    worst: Level::Warning,
    why: "a new certificate or token could not be used, and the old one stays until it expires",
    remedy: "the controller's log says what is wrong with the file; certificate and key must belong together",
};

static REPLICAS: Check = Check {
    id: "controller.replicas",
    worst: Level::Warning,
    why: "another replica does not respond: its proxies are not listed here, and what they report may not arrive",
    remedy: "see its pod and its log; a NetworkPolicy must let replicas reach each other on both ports",
};

static WATCH: Check = Check {
    id: "kubernetes.watch",
    worst: Level::Error,
    why: "the controller does not see these objects, and keeps what it knew",
    remedy: "where it is forbidden, give the controller's role get, list and watch for the resource, as the chart's role \
             has them. A missing kind matters only if you use it: then install its CRD",
};

static OBJECTS: Check = Check {
    id: "kubernetes.object",
    worst: Level::Warning,
    why: "an object in the cluster does not do what its author must have meant",
    remedy: "change what the message names",
};

/// In the order of docs/check.md.
pub(super) static CHECKS: [&Check; 10] =
    [&READY, &VERSION, &CLOCK, &CONFIG, &TOKEN, &TLS, &SECRETS, &REPLICAS, &WATCH, &OBJECTS];

pub(super) fn check(pages: &Pages, to: &mut Findings) {
    let Pages { state, unready, counters, clock, .. } = pages;
    let seen = unready.as_deref().unwrap_or("ready");
    to.judge(&READY, unready.is_none(), "", seen);
    let own = env!("CARGO_PKG_VERSION");
    let seen = if state.version.is_empty() { "it does not say" } else { &state.version };
    to.judge(&VERSION, state.version == own, "", format!("{seen}, and this is {own}"));
    if let Some(ClockDifference { by, is_ahead }) = clock {
        let direction = if *is_ahead { "ahead of" } else { "behind" };
        let seen = format!("{} s {direction} the clock here", by.as_secs());
        to.judge(&CLOCK, *by <= CLOCK_MAX, "", seen);
    }
    let refused = counters.get("config_reloads_total{refused}").copied().unwrap_or_default();
    to.judge(&CONFIG, refused < 1.0, "", format!("{refused} changes were rejected"));
    check_identity(counters, to);
    for replica in &state.replicas {
        let seen = replica.problem.as_deref().unwrap_or("responds");
        to.judge(&REPLICAS, replica.problem.is_none(), format!("replica {}", replica.address), seen);
    }
    for watch in &state.watches {
        let level = match watch.state.as_str() {
            "synced" | "missing" => Level::Ok,
            "pending" => Level::Warning,
            _ => Level::Error,
        };
        let place = watch.namespace.as_deref().unwrap_or("all namespaces");
        let message = if watch.message.is_empty() { String::new() } else { format!(": {}", watch.message) };
        to.add(&WATCH, level, format!("{} in {place}", watch.resource), format!("{}{message}", watch.state));
    }
    for problem in &state.problems {
        to.bad(&OBJECTS, &problem.kind, &problem.message);
    }
}

/// Checks how often tokens, handshakes and renewals have failed.
fn check_identity(counters: &BTreeMap<String, f64>, to: &mut Findings) {
    let count = |name: &str| counters.get(name).copied().unwrap_or_default();
    let all = count("unauthenticated_total");
    let of_reason =
        |reason: &str| format!("{reason} {}", count(&format!("unauthenticated_total{{{reason}}}")));
    let reasons = ["absent", "wrong", "malformed"].map(of_reason).join(", ");
    to.judge(&TOKEN, all < 1.0, "", format!("{all} RPCs without a valid token: {reasons}"));
    let handshakes = count("handshakes_failed_total");
    to.judge(&TLS, handshakes < 1.0, "", format!("{handshakes} connections failed"));
    let refused = count("secret_reloads_total{refused}");
    to.judge(&SECRETS, refused < 1.0, "", format!("{refused} changes were refused"));
}
