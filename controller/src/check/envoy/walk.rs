//! Finds what the filter takes part in: each HTTP connection manager with the filter, and the routes for which it is on.

use super::dump::Dump;
use crate::check::json::{at, is_type, items, text};
use serde_json::Value;

/// The name of the plugin, its root and its filter in all of our configurations.
pub(super) const NAME: &str = "warmpath.router";

/// Istio's clusters for requests that no Service matches. They hold no engines.
const ELSEWHERE: [&str; 2] = ["PassthroughCluster", "BlackHoleCluster"];

/// A connection manager with the filter.
#[derive(Clone, Debug)]
pub(super) struct Gateway<'a> {
    /// The listener.
    pub(super) listener: &'a Value,
    /// The connection manager.
    pub(super) manager: &'a Value,
    /// All its filters, in order.
    pub(super) filters: Vec<Filter<'a>>,
    /// Which one is ours.
    pub(super) place: usize,
    /// The routes to clusters for which it is on.
    pub(super) routes: Vec<Route<'a>>,
}

/// One HTTP filter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filter<'a> {
    /// Its name in the connection manager.
    pub(super) name: &'a str,
    /// Its configuration; null while it was not discovered.
    pub(super) config: &'a Value,
    /// Whether it is discovered by another resource.
    pub(super) is_discovered: bool,
    /// Whether it is off unless a route turns it on.
    pub(super) is_disabled: bool,
}

/// One route to clusters.
#[derive(Clone, Debug)]
pub(super) struct Route<'a> {
    /// For people.
    pub(super) name: String,
    /// What it matches.
    pub(super) matches: &'a Value,
    /// Where it leads, and how.
    pub(super) action: &'a Value,
    /// The whole route.
    pub(super) whole: &'a Value,
    /// Its virtual host.
    pub(super) host: &'a Value,
    /// The names of its clusters, as far as they are fixed.
    pub(super) clusters: Vec<&'a str>,
}

/// All connection managers with the filter.
pub(super) fn gateways<'a>(dump: &Dump<'a>) -> Vec<Gateway<'a>> {
    let mut found = Vec::new();
    for listener in &dump.listeners {
        let chains = items(listener, "/filter_chains").iter().chain([at(listener, "/default_filter_chain")]);
        for manager in
            chains.flat_map(|chain| items(chain, "/filters")).map(|filter| at(filter, "/typed_config"))
        {
            if is_type(manager, "HttpConnectionManager") {
                found.extend(Gateway::of(dump, listener, manager));
            }
        }
    }
    found
}

// === impl Gateway ===

impl<'a> Gateway<'a> {
    fn of(dump: &Dump<'a>, listener: &'a Value, manager: &'a Value) -> Option<Self> {
        let filters: Vec<Filter<'a>> =
            items(manager, "/http_filters").iter().map(|filter| Filter::of(dump, filter)).collect();
        let place = filters.iter().position(Filter::is_ours)?;
        let ours = *filters.get(place)?;
        let named = text(manager, "/rds/route_config_name");
        let table = match at(manager, "/route_config") {
            Value::Null => dump.routes.get(named).copied().unwrap_or(&Value::Null),
            inline => inline,
        };
        Some(Self { listener, manager, filters, place, routes: routes(table, ours) })
    }

    /// Our filter.
    pub(super) fn ours(&self) -> Option<Filter<'a>> {
        self.filters.get(self.place).copied()
    }

    /// Whether another of its filters is on for any of the routes.
    pub(super) fn turns_on(&self, filter: Filter<'_>) -> bool {
        self.routes.iter().any(|route| is_on(filter, [route.whole, route.host, &Value::Null]))
    }

    /// The listener, for people.
    pub(super) fn subject(&self) -> String {
        format!("listener {}", text(self.listener, "/name"))
    }

    /// Whether it serves only its own application, as Istio's sidecars do. Istio's gateways have the same direction, but use the
    /// clients' addresses.
    pub(super) fn is_sidecar(&self) -> bool {
        text(self.listener, "/traffic_direction") == "OUTBOUND" && !self.uses_remote_address()
    }

    /// Whether it uses the clients' own addresses.
    pub(super) fn uses_remote_address(&self) -> bool {
        at(self.manager, "/use_remote_address").as_bool().unwrap_or_default()
    }

    /// The plugin's own configuration, as JSON.
    pub(super) fn plugin_json(&self) -> &'a str {
        let config = self.ours().map_or(&Value::Null, |ours| ours.config);
        text(config, "/config/configuration/value")
    }
}

// === impl Filter ===

impl<'a> Filter<'a> {
    fn of(dump: &Dump<'a>, filter: &'a Value) -> Self {
        let name = text(filter, "/name");
        let is_discovered = !at(filter, "/config_discovery").is_null();
        let config = if is_discovered {
            dump.extensions.get(name).copied().unwrap_or(&Value::Null)
        } else {
            at(filter, "/typed_config")
        };
        let is_disabled = at(filter, "/disabled").as_bool().unwrap_or_default();
        Self { name, config, is_discovered, is_disabled }
    }

    /// Whether it is Warmpath's, by any of its names: gateways rename filters.
    fn is_ours(&self) -> bool {
        let names = [self.name, text(self.config, "/config/name"), text(self.config, "/config/root_id")];
        names.contains(&NAME)
    }
}

/// The routes of a table for which a filter is on.
fn routes<'a>(table: &'a Value, filter: Filter<'a>) -> Vec<Route<'a>> {
    let mut found = Vec::new();
    for host in items(table, "/virtual_hosts") {
        for whole in items(host, "/routes") {
            let action = at(whole, "/route");
            let clusters = clusters(action);
            let is_elsewhere = !clusters.is_empty() && clusters.iter().all(|name| ELSEWHERE.contains(name));
            if !action.is_null() && !is_elsewhere && is_on(filter, [whole, host, table]) {
                found.push(Route {
                    name: route_name(host, whole),
                    matches: at(whole, "/match"),
                    action,
                    whole,
                    host,
                    clusters,
                });
            }
        }
    }
    found
}

/// Whether a filter is on, by the most specific setting.
fn is_on(filter: Filter<'_>, places: [&Value; 3]) -> bool {
    let said = places.iter().find_map(|place| at(place, "/typed_per_filter_config").get(filter.name));
    said.map_or(!filter.is_disabled, |said| !at(said, "/disabled").as_bool().unwrap_or_default())
}

/// A route's name, or what it matches.
fn route_name(host: &Value, route: &Value) -> String {
    let name = text(route, "/name");
    let of_match =
        ["/match/prefix", "/match/path", "/match/path_separated_prefix", "/match/safe_regex/regex"];
    let shown = if name.is_empty() {
        of_match.into_iter().map(|pointer| text(route, pointer)).find(|text| !text.is_empty()).unwrap_or("?")
    } else {
        name
    };
    format!("route {shown} of {}", text(host, "/name"))
}

fn clusters(action: &Value) -> Vec<&str> {
    let weighted = items(action, "/weighted_clusters/clusters").iter().map(|cluster| text(cluster, "/name"));
    [text(action, "/cluster")].into_iter().chain(weighted).filter(|name| !name.is_empty()).collect()
}
