//! Envoy's `/config_dump`, sorted: what is in use, by name, and what was rejected.
//!
//! Static resources (of plain Envoy) and dynamic ones (of Istio and Envoy Gateway) are alike from here on.

use crate::check::json::{at, items, text};
use serde_json::Value;
use std::collections::BTreeMap;

/// The configuration that an Envoy uses.
#[derive(Clone, Debug)]
pub(super) struct Dump<'a> {
    pub(super) bootstrap: &'a Value,
    pub(super) listeners: Vec<&'a Value>,
    pub(super) routes: BTreeMap<&'a str, &'a Value>,
    pub(super) clusters: BTreeMap<&'a str, &'a Value>,
    /// HTTP filters of the extension configuration discovery service, by their names.
    pub(super) extensions: BTreeMap<&'a str, &'a Value>,
    pub(super) rejected: Vec<Rejected<'a>>,
    /// Listeners that wait for something before they serve.
    pub(super) warming: Vec<&'a str>,
}

/// An update that Envoy did not accept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rejected<'a> {
    pub(super) name: &'a str,
    pub(super) details: &'a str,
}

// === impl Dump ===

impl<'a> Dump<'a> {
    pub(super) fn of(page: &'a Value) -> Self {
        let mut dump = Self {
            bootstrap: &Value::Null,
            listeners: Vec::new(),
            routes: BTreeMap::new(),
            clusters: BTreeMap::new(),
            extensions: BTreeMap::new(),
            rejected: Vec::new(),
            warming: Vec::new(),
        };
        for section in items(page, "/configs") {
            dump.take(section);
        }
        dump
    }

    fn take(&mut self, section: &'a Value) {
        match text(section, "/@type").rsplit('.').next().unwrap_or_default() {
            "BootstrapConfigDump" => self.bootstrap = at(section, "/bootstrap"),
            "ListenersConfigDump" => self.take_listeners(section),
            "ClustersConfigDump" => {
                let lists = ["/static_clusters", "/dynamic_active_clusters", "/dynamic_warming_clusters"];
                for item in lists.into_iter().flat_map(|list| items(section, list)) {
                    let cluster = at(item, "/cluster");
                    self.clusters.entry(text(cluster, "/name")).or_insert(cluster);
                    self.take_error(item, text(cluster, "/name"));
                }
            }
            "RoutesConfigDump" => {
                let lists = ["/static_route_configs", "/dynamic_route_configs"];
                for item in lists.into_iter().flat_map(|list| items(section, list)) {
                    let routes = at(item, "/route_config");
                    self.routes.insert(text(routes, "/name"), routes);
                    self.take_error(item, text(routes, "/name"));
                }
            }
            "EcdsConfigDump" => {
                for item in items(section, "/ecds_filters") {
                    let filter = at(item, "/ecds_filter");
                    self.extensions.insert(text(filter, "/name"), at(filter, "/typed_config"));
                    self.take_error(item, text(filter, "/name"));
                }
            }
            _ => {}
        }
    }

    fn take_listeners(&mut self, section: &'a Value) {
        self.listeners.extend(items(section, "/static_listeners").iter().map(|item| at(item, "/listener")));
        for item in items(section, "/dynamic_listeners") {
            let active = at(item, "/active_state/listener");
            let warming = at(item, "/warming_state/listener");
            let name = text(item, "/name");
            match (active.is_null(), warming.is_null()) {
                (false, _) => self.listeners.push(active),
                (true, false) => {
                    self.listeners.push(warming);
                    self.warming.push(name);
                }
                (true, true) => {}
            }
            self.take_error(item, name);
        }
    }

    fn take_error(&mut self, item: &'a Value, name: &'a str) {
        let details = text(item, "/error_state/details");
        if !details.is_empty() {
            self.rejected.push(Rejected { name, details });
        }
    }
}
