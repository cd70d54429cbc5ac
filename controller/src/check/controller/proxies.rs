//! The proxies: whether any is connected, and whether they fit the controller.

use crate::api::{ProxyState, StatePage};
use crate::check::finding::{Check, Findings, Level};
use std::collections::BTreeMap;
use warmpath_core::num::index;

static CONNECTED: Check = Check {
    id: "proxy.connected",
    worst: Level::Error,
    why: "what the controller knows reaches no proxy",
    remedy: "check an Envoy, too: `warmpath check --envoy URL` says why it does not connect",
};

static VERSION: Check = Check {
    id: "proxy.version",
    worst: Level::Warning,
    why: "filter and controller have different versions: what only one of them knows is ignored",
    remedy: "upgrade the filter to the controller's version: `./just build` writes both",
};

static REPORTS: Check = Check {
    id: "proxy.reports",
    worst: Level::Warning,
    why: "the proxy's filter is too old to know what engines report of their caches: it routes by what is learned, and other \
          proxies learn nothing from it about pools with a `prompt`",
    remedy: "upgrade the filter to the controller's version: `./just build` writes both",
};

static REFUSED: Check = Check {
    id: "proxy.refused",
    worst: Level::Error,
    why: "the controller does not serve this proxy, which knows only its own requests",
    remedy: "set the same cell_bytes in the filter and the controller; run fewer proxies if there are too many",
};

static CELL_BYTES: Check = Check {
    id: "proxy.cell-bytes",
    worst: Level::Error,
    why: "cells of another size match nothing: the prefixes of this proxy are useless to others",
    remedy: "set the same cell_bytes in the filter and the controller",
};

static NODE: Check = Check {
    id: "proxy.node-unique",
    worst: Level::Warning,
    why: "proxies of the same name cannot be distinguished in logs and lists",
    remedy: "give each Envoy its own node.id (--service-node)",
};

/// In the order of docs/check.md.
pub(super) static CHECKS: [&Check; 6] = [&CONNECTED, &VERSION, &REPORTS, &REFUSED, &CELL_BYTES, &NODE];

pub(super) fn check(state: &StatePage, to: &mut Findings) {
    let proxies = &state.proxies;
    to.judge(&CONNECTED, !proxies.is_empty(), "", format!("proxies: {}", proxies.len()));
    for refused in &state.refused {
        to.bad(&REFUSED, format!("proxy {}", refused.node), &refused.message);
    }
    if proxies.is_empty() {
        return;
    }
    let odd: Vec<&ProxyState> = proxies.iter().filter(|proxy| proxy.version != state.version).collect();
    for proxy in &odd {
        let seen = format!("filter {}, controller {}", proxy.version, state.version);
        to.bad(&VERSION, format!("proxy {}", proxy.node), seen);
    }
    if odd.is_empty() {
        to.ok(&VERSION, "", format!("all {}", state.version));
    }
    if state.pools.iter().any(|pool| pool.prompt.is_some()) {
        let takes_none = |proxy: &&ProxyState| proxy.takes_reports == Some(false);
        for proxy in proxies.iter().filter(takes_none) {
            to.bad(&REPORTS, format!("proxy {}", proxy.node), "it takes none");
        }
        if !proxies.iter().any(|proxy| takes_none(&proxy)) {
            to.ok(&REPORTS, "", "all take them".to_owned());
        }
    }
    let misfits =
        proxies.iter().filter(|proxy| proxy.cell_bytes.is_some_and(|bytes| index(bytes) != state.cell_bytes));
    for proxy in misfits {
        let seen =
            format!("{} bytes, the controller {}", proxy.cell_bytes.unwrap_or_default(), state.cell_bytes);
        to.bad(&CELL_BYTES, format!("proxy {}", proxy.node), seen);
    }
    let mut nodes: BTreeMap<&str, usize> = BTreeMap::new();
    for proxy in proxies {
        *nodes.entry(&proxy.node).or_default() += 1;
    }
    let twice: Vec<String> = nodes
        .iter()
        .filter(|(_, count)| **count > 1)
        .map(|(node, count)| format!("{node} ({count})"))
        .collect();
    let seen = if twice.is_empty() { format!("names: {}", nodes.len()) } else { twice.join(", ") };
    to.judge(&NODE, twice.is_empty(), "", seen);
}
