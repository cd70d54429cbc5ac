//! One EnvoyFilter, applied to what one proxy would get without it.

use super::{Context, MergeError, matching, merge};
use crate::captured::Captured;
use serde_json::Value;

/// A patch that would not have the intended effect.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// Nothing matches: istiod would silently drop it.
    #[error("patch {at} ({kind}) matches nothing: {patch}")]
    Unmatched {
        /// Its number.
        at: usize,
        /// What it is for.
        kind: String,
        /// The patch.
        patch: String,
    },
    /// The kind does not have this operation, or it is not implemented here.
    #[error("patch {at}: no {operation} of {kind}")]
    Operation {
        /// Its number.
        at: usize,
        /// The operation.
        operation: String,
        /// What it is for.
        kind: String,
    },
    /// The merge would not have the intended effect.
    #[error("patch {at}")]
    Merge {
        /// Its number.
        at: usize,
        /// Why.
        #[source]
        source: MergeError,
    },
    /// It is not an EnvoyFilter.
    #[error("no spec.configPatches")]
    NoPatches,
}

/// The patches of an EnvoyFilter, and how often each has matched.
struct Patches<'a> {
    context: Context,
    all: &'a [Value],
    matched: Vec<usize>,
}

/// One patch.
#[derive(Clone, Copy)]
struct Patch<'a> {
    at: usize,
    body: &'a Value,
}

/// Applies an EnvoyFilter to a proxy that it is for.
pub fn apply(proxy: &mut Captured, filter: &Value, context: Context) -> Result<(), PatchError> {
    let patches =
        filter.pointer("/spec/configPatches").and_then(Value::as_array).ok_or(PatchError::NoPatches)?;
    let mut patches = Patches { context, all: patches, matched: vec![0; patches.len()] };
    patches.extensions(proxy)?;
    patches.clusters(proxy)?;
    for listener in &mut proxy.listeners {
        patches.listener(listener)?;
    }
    for routes in &mut proxy.routes {
        patches.routes(routes)?;
    }
    patches.check_matched()
}

// === impl Patch ===

impl<'a> Patch<'a> {
    fn text(self, pointer: &str) -> &'a str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    fn operation(self) -> &'a str {
        self.text("/patch/operation")
    }

    fn value(self) -> &'a Value {
        self.body.pointer("/patch/value").unwrap_or(&Value::Null)
    }

    fn merge_into(self, object: &mut Value) -> Result<(), PatchError> {
        merge::merge(object, self.value()).map_err(|source| PatchError::Merge { at: self.at, source })
    }

    fn no_operation(self) -> PatchError {
        let (operation, kind) = (self.operation().to_owned(), self.text("/applyTo").to_owned());
        PatchError::Operation { at: self.at, operation, kind }
    }
}

// === impl Patches ===

impl<'a> Patches<'a> {
    /// The patches for a kind of object, in their order.
    fn of(&self, kind: &'static str) -> Vec<Patch<'a>> {
        let (all, context) = (self.all, self.context);
        let numbered = all.iter().enumerate().map(|(at, body)| Patch { at, body });
        numbered.filter(|patch| patch.text("/applyTo") == kind && context.is_of(patch.body)).collect()
    }

    fn count(&mut self, patch: Patch<'_>) {
        if let Some(count) = self.matched.get_mut(patch.at) {
            *count += 1;
        }
    }

    fn check_matched(&self) -> Result<(), PatchError> {
        let Some(at) = self.matched.iter().position(|count| *count == 0) else { return Ok(()) };
        let patch = self.all.get(at).unwrap_or(&Value::Null);
        let kind = patch.get("applyTo").and_then(Value::as_str).unwrap_or_default().to_owned();
        Err(PatchError::Unmatched { at, kind, patch: patch.to_string() })
    }

    fn extensions(&mut self, proxy: &mut Captured) -> Result<(), PatchError> {
        for patch in self.of("EXTENSION_CONFIG") {
            if patch.operation() != "ADD" {
                return Err(patch.no_operation());
            }
            proxy.extensions.push(patch.value().clone());
            self.count(patch);
        }
        Ok(())
    }

    fn clusters(&mut self, proxy: &mut Captured) -> Result<(), PatchError> {
        for patch in self.of("CLUSTER") {
            match patch.operation() {
                "ADD" => {
                    proxy.clusters.push(patch.value().clone());
                    self.count(patch);
                }
                "MERGE" => {
                    for cluster in
                        proxy.clusters.iter_mut().filter(|cluster| matching::cluster(patch.body, cluster))
                    {
                        patch.merge_into(cluster)?;
                        self.count(patch);
                    }
                }
                _ => return Err(patch.no_operation()),
            }
        }
        Ok(())
    }

    fn listener(&mut self, listener: &mut Value) -> Result<(), PatchError> {
        for patch in self.of("LISTENER") {
            if patch.operation() != "MERGE" {
                return Err(patch.no_operation());
            }
            if matching::listener(patch.body, listener) {
                patch.merge_into(listener)?;
                self.count(patch);
            }
        }
        let [network, http] = ["NETWORK_FILTER", "HTTP_FILTER"]
            .map(|kind| chosen(&self.of(kind), |patch| matching::listener(patch, listener)));
        for filter in filters(listener) {
            for patch in chosen(&network, |patch| matching::network_filter(patch, filter)) {
                self.network_filter(filter, patch)?;
            }
            for patch in chosen(&http, |patch| matching::network_filter(patch, filter)) {
                self.http_filters(filter, patch)?;
            }
        }
        Ok(())
    }

    fn network_filter(&mut self, filter: &mut Value, patch: Patch<'_>) -> Result<(), PatchError> {
        if patch.operation() != "MERGE" {
            return Err(patch.no_operation());
        }
        let (Some(into), Some(typed)) = (filter.get_mut("typed_config"), patch.value().get("typed_config"))
        else {
            return Ok(());
        };
        merge::merge_typed(into, typed).map_err(|source| PatchError::Merge { at: patch.at, source })?;
        self.count(patch);
        Ok(())
    }

    fn http_filters(&mut self, manager: &mut Value, patch: Patch<'_>) -> Result<(), PatchError> {
        let Some(Value::Array(filters)) = manager.pointer_mut("/typed_config/http_filters") else {
            return Ok(());
        };
        let Some(found) = filters.iter().position(|filter| matching::http_filter(patch.body, filter)) else {
            return Ok(());
        };
        match patch.operation() {
            "INSERT_BEFORE" => filters.insert(found, patch.value().clone()),
            "REMOVE" => filters.retain(|filter| !matching::http_filter(patch.body, filter)),
            _ => return Err(patch.no_operation()),
        }
        self.count(patch);
        Ok(())
    }

    fn routes(&mut self, routes: &mut Value) -> Result<(), PatchError> {
        let [of_hosts, of_routes] = ["VIRTUAL_HOST", "HTTP_ROUTE"]
            .map(|kind| chosen(&self.of(kind), |patch| matching::route_configuration(patch, routes)));
        let Some(Value::Array(hosts)) = routes.get_mut("virtual_hosts") else { return Ok(()) };
        for host in hosts {
            for patch in chosen(&of_hosts, |patch| matching::virtual_host(patch, host)) {
                self.merge_only(host, patch)?;
            }
            let of_routes = chosen(&of_routes, |patch| matching::virtual_host(patch, host));
            let Some(Value::Array(routes)) = host.get_mut("routes") else { continue };
            for route in routes {
                for patch in chosen(&of_routes, |patch| matching::route(patch, route)) {
                    self.merge_only(route, patch)?;
                }
            }
        }
        Ok(())
    }

    fn merge_only(&mut self, object: &mut Value, patch: Patch<'_>) -> Result<(), PatchError> {
        if patch.operation() != "MERGE" {
            return Err(patch.no_operation());
        }
        patch.merge_into(object)?;
        self.count(patch);
        Ok(())
    }
}

/// Those of some patches that are for an object.
fn chosen<'a>(patches: &[Patch<'a>], is_for: impl Fn(&Value) -> bool) -> Vec<Patch<'a>> {
    patches.iter().filter(|patch| is_for(patch.body)).copied().collect()
}

/// The network filters of all filter chains of a listener.
fn filters(listener: &mut Value) -> Vec<&mut Value> {
    let Value::Object(fields) = listener else { return Vec::new() };
    let mut chains: Vec<&mut Value> = Vec::new();
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("filter_chains", Value::Array(list)) => chains.extend(list),
            ("default_filter_chain", chain) => chains.push(chain),
            _ => {}
        }
    }
    chains.into_iter().flat_map(filters_of_chain).collect()
}

fn filters_of_chain(chain: &mut Value) -> Vec<&mut Value> {
    match chain.get_mut("filters") {
        Some(Value::Array(filters)) => filters.iter_mut().collect(),
        _ => Vec::new(),
    }
}
