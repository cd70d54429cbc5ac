//! Checks of an Envoy, by its admin page: plain Envoy's, Istio's, Envoy Gateway's.
//!
//! ```text
//!   /server_info ─┐
//!   /config_dump ─┼─► Pages ─► walk: listeners ─► filters ─► routes ─► clusters ─► findings
//!   /stats       ─┤                   (one file of checks for each)
//!   /clusters    ─┘
//! ```
//!
//! Only the configuration in force is checked, not the objects that it was generated from: Istio and Envoy Gateway change what
//! people write, and report that only in logs.

mod buffers;
mod clusters;
mod dump;
mod feed;
mod filter;
mod holds;
mod legs;
mod routes;
mod server;
mod stats;
mod traffic;
mod walk;

use super::finding::{Check, Findings, Level};
use crate::web::{self, Bounds, WebError};
use dump::Dump;
use serde_json::Value;
use stats::Stats;
use std::collections::BTreeSet;
use warmpath_core::config::Config;

/// The configuration of a sidecar in a large mesh is tens of megabytes.
const BOUNDS: Bounds = Bounds::bytes(256 * 1024 * 1024);

static FILTER_MISSING: Check = Check {
    id: "filter.missing",
    worst: Level::Error,
    why: "without the filter, Envoy's own policy places all requests, and caches are hit only by chance",
    remedy: "add the filter to the HTTP connection manager, before the router filter: see envoy/README.md, or your \
             gateway's folder. In Istio, check that the EnvoyFilter's selector and context match this proxy",
};

/// All checks of an Envoy.
pub(super) static CHECKS: [&[&Check]; 10] = [
    &server::CHECKS,
    &[&FILTER_MISSING],
    &filter::CHECKS,
    &buffers::CHECKS,
    &routes::CHECKS,
    &clusters::CHECKS,
    &legs::CHECKS,
    &holds::CHECKS,
    &feed::CHECKS,
    &traffic::CHECKS,
];

/// The pages of an Envoy's admin address.
#[derive(Clone, Debug, Default)]
pub struct Pages {
    /// `/server_info`.
    pub server_info: Value,
    /// `/config_dump`.
    pub config_dump: Value,
    /// `/clusters?format=json`.
    pub clusters: Value,
    /// `/stats`, as far as it is about plugins.
    pub stats: String,
}

/// What a controller knows, for comparison with an Envoy.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The endpoints of all pools.
    pub endpoints: BTreeSet<String>,
    /// The number of pools: with several, Envoy must buffer larger bodies.
    pub pools: usize,
    /// The checksum of the filter that the controller serves.
    pub sha256: Option<String>,
    /// The clusters of the prefill legs of each pool whose requests may be split; `None` for those of the routes.
    pub leg_clusters: BTreeSet<Option<String>>,
    /// The longest time for which a request of any pool may be held, in seconds; zero: none is.
    pub hold_s_max: u32,
    /// Whether requests of any pool wait for an endpoint.
    pub holds_for_endpoint: bool,
}

// === impl Pages ===

impl Pages {
    /// Requests all of them.
    pub async fn of(admin: &str) -> Result<Self, WebError> {
        let json = async |path| web::json(admin, path, BOUNDS, "Envoy").await;
        let stats = web::page(admin, "/stats?filter=wasm", BOUNDS).await?;
        Ok(Self {
            server_info: json("/server_info").await?,
            config_dump: json("/config_dump").await?,
            clusters: json("/clusters?format=json").await?,
            stats: String::from_utf8_lossy(&stats).into_owned(),
        })
    }
}

/// Checks an Envoy. `wanted` is absent where no controller was asked.
pub fn check(pages: &Pages, wanted: Option<&Wanted>, to: &mut Findings) {
    let dump = Dump::of(&pages.config_dump);
    server::check(&pages.server_info, &dump, to);
    let gateways = walk::gateways(&dump);
    if gateways.is_empty() {
        let listeners = dump.listeners.len();
        to.bad(&FILTER_MISSING, "", format!("none of {listeners} listeners has the filter {}", walk::NAME));
        return;
    }
    let to_engines = clusters::to_engines(&gateways, &dump);
    for gateway in &to_engines {
        let plugin = filter::check(gateway, wanted, to);
        buffers::check(gateway, plugin.as_ref(), wanted, to);
        routes::check(gateway, to);
        holds::check(gateway, plugin.as_ref(), wanted, to);
        if let Some(plugin) = &plugin {
            feed::check_cluster(gateway, &dump, plugin, to);
        }
    }
    clusters::check(&gateways, &dump, to);
    clusters::check_hosts(&to_engines, &pages.clusters, to);
    if let Some(wanted) = wanted {
        clusters::compare(&to_engines, &pages.clusters, wanted, to);
        legs::check(&to_engines, &dump, wanted, to);
    }
    let stats = Stats::of(&pages.stats);
    let plugins: Vec<Config> =
        gateways.iter().filter_map(|gateway| filter::configuration(gateway).ok()).collect();
    holds::check_overload(&dump, &plugins, wanted, to);
    let has_controller = plugins.iter().any(|plugin| plugin.controller.is_some());
    feed::check_stats(&stats, has_controller, to);
    traffic::check(&stats, to);
}
