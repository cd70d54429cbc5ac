//! Envoy as a whole: its version, whether it serves, what it rejected, and whether its memory is limited.

use super::dump::Dump;
use crate::check::finding::{Check, Findings, Level};
use crate::check::json::{items, text};
use serde_json::Value;

/// The oldest Envoy that knows `allow_on_headers_stop_iteration`.
const VERSION_MIN: (u32, u32) = (1, 35);

static VERSION: Check = Check {
    id: "envoy.version",
    worst: Level::Error,
    why: "older versions lack `allow_on_headers_stop_iteration`, without which the filter cannot read prompts",
    remedy: "run Envoy 1.35 or newer: Istio has it from 1.27, Envoy Gateway from 1.5",
};

static LIVE: Check = Check {
    id: "envoy.live",
    worst: Level::Warning,
    why: "an Envoy that is starting or draining accepts no new connections",
    remedy: "wait; if it stays that way, its log says what it waits for",
};

static REJECTED: Check = Check {
    id: "envoy.update-rejected",
    worst: Level::Error,
    why: "Envoy rejected the newest configuration, and keeps the previous one or has none",
    remedy: "correct what the message names, and apply it again",
};

static WARMING: Check = Check {
    id: "envoy.warming",
    worst: Level::Error,
    why: "the listener serves nothing until everything that it refers to has arrived",
    remedy: "look in the log of Envoy or its agent for the clusters, routes, secrets or filters that are missing",
};

static MEMORY: Check = Check {
    id: "envoy.memory-limit",
    worst: Level::Warning,
    why: "Envoy keeps request bodies in memory, each up to the buffer limit. Nothing limits their sum, so the kernel may \
          kill the process",
    remedy: "add an overload manager with a heap or cgroup monitor that stops new requests: see the end of envoy/envoy.yaml",
};

/// In the order of docs/check.md.
pub(super) static CHECKS: [&Check; 5] = [&VERSION, &LIVE, &REJECTED, &WARMING, &MEMORY];

pub(super) fn check(server_info: &Value, dump: &Dump<'_>, to: &mut Findings) {
    check_version(text(server_info, "/version"), to);
    let state = text(server_info, "/state");
    to.judge(&LIVE, state == "LIVE", "", format!("state {state}"));
    for rejected in &dump.rejected {
        to.bad(&REJECTED, rejected.name, rejected.details);
    }
    if dump.rejected.is_empty() {
        to.ok(&REJECTED, "", "no update was rejected");
    }
    for name in &dump.warming {
        to.bad(&WARMING, format!("listener {name}"), "it does not serve yet");
    }
    let monitors = items(dump.bootstrap, "/overload_manager/resource_monitors");
    let limits = monitors.iter().map(|monitor| text(monitor, "/name"));
    let limits: Vec<&str> = limits.filter(|name| name.contains("heap") || name.contains("cgroup")).collect();
    let seen =
        if limits.is_empty() { "no overload manager watches it".to_owned() } else { limits.join(", ") };
    to.judge(&MEMORY, !limits.is_empty(), "", seen);
}

fn check_version(version: &str, to: &mut Findings) {
    let number = version.split('/').nth(1).unwrap_or(version);
    match parse(number) {
        Some(found) => to.judge(&VERSION, found >= VERSION_MIN, "", number),
        None => {
            to.add(&VERSION, Level::Warning, "", format!("`{version}` is not a version that is known here"));
        }
    }
}

/// Major and minor number.
fn parse(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::{VERSION_MIN, parse};

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(parse("1.40.0").unwrap() > VERSION_MIN);
        assert!(parse("1.9.1-dev").unwrap() < VERSION_MIN);
        assert_eq!(parse("dev"), None);
    }
}
