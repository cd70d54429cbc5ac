//! EnvoyPatchPolicies, applied as Envoy Gateway applies them (`internal/xds/translator/jsonpatch.go`), as far as ours need:
//! additions, at the places that a JSONPath finds. A path that finds nothing is an error; Envoy Gateway reports it in the policy's
//! status.

use crate::captured::Captured;
use serde_json::Value;
use serde_json_path::JsonPath;

/// A patch that cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum PatchPolicyError {
    /// It is no EnvoyPatchPolicy.
    #[error("no spec.jsonPatches")]
    NoPatches,
    /// The resource is not there, or the place in it.
    #[error("{name} has no {place}")]
    Nowhere {
        /// The resource.
        name: String,
        /// The place.
        place: String,
    },
    /// An operation that is not known here.
    #[error("no operation {0}")]
    Operation(String),
    /// The place is no JSONPath.
    #[error("not a path: {0}")]
    Path(#[from] serde_json_path::ParseError),
}

/// Applies an EnvoyPatchPolicy to a proxy that it is for.
pub fn apply(proxy: &mut Captured, policy: &Value) -> Result<(), PatchPolicyError> {
    let patches = policy.pointer("/spec/jsonPatches").and_then(Value::as_array);
    patches.ok_or(PatchPolicyError::NoPatches)?.iter().try_for_each(|patch| apply_one(proxy, patch))
}

fn apply_one(proxy: &mut Captured, patch: &Value) -> Result<(), PatchPolicyError> {
    let text = |pointer: &str| patch.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if text("/operation/op") != "add" {
        return Err(PatchPolicyError::Operation(text("/operation/op").to_owned()));
    }
    let value = patch.pointer("/operation/value").unwrap_or(&Value::Null);
    let resources = match text("/type") {
        "type.googleapis.com/envoy.config.listener.v3.Listener" => &mut proxy.listeners,
        "type.googleapis.com/envoy.config.cluster.v3.Cluster" => &mut proxy.clusters,
        "type.googleapis.com/envoy.config.route.v3.RouteConfiguration" => &mut proxy.routes,
        other => return Err(PatchPolicyError::Operation(other.to_owned())),
    };
    let (place, field) = (text("/operation/jsonPath"), text("/operation/path"));
    if place.is_empty() && field.is_empty() {
        resources.push(value.clone());
        return Ok(());
    }
    let nowhere = || PatchPolicyError::Nowhere { name: text("/name").to_owned(), place: place.to_owned() };
    let is_it = |resource: &&mut Value| resource.get("name").is_some_and(|name| name == text("/name"));
    let resource = resources.iter_mut().find(is_it).ok_or_else(nowhere)?;
    let found = JsonPath::parse(&format!("${place}"))?.query_located(resource);
    let places: Vec<_> = found.locations().map(serde_json_path::NormalizedPath::to_json_pointer).collect();
    if places.is_empty() {
        return Err(nowhere());
    }
    for pointer in places {
        let Some(Value::Object(fields)) = resource.pointer_mut(&pointer) else { return Err(nowhere()) };
        fields.insert(field.trim_start_matches('/').to_owned(), value.clone());
    }
    Ok(())
}
