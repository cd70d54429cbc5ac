//! The template of a role's claims of devices (dynamic resource allocation).
//!
//! A ResourceClaimTemplate cannot be changed. Its name therefore has a hash of its content: other devices are another template, which
//! comes with the workload that refers to it, and the old one goes. With one name for all, the API server would refuse the change of the
//! template, and take that of the workload.

use super::Object;
use super::names::Owner;
use crate::hardware::Request;
use crate::json::put;
use crate::shape::Shape;
use serde_json::{Value, json};

/// FNV-1a of 32 bits (RFC 9923). It has to be the same in each release, which Rust's own hashers do not promise.
const FNV_OFFSET: u32 = 0x811c_9dc5;
const FNV_PRIME: u32 = 0x0100_0193;

/// The template; `None`: the role claims no devices.
pub(super) fn template(owner: &Owner<'_>, shape: &Shape<'_>) -> Option<Object> {
    let spec = spec(shape)?;
    let manifest = json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaimTemplate",
        "metadata": owner.metadata(&name(owner, shape), Some(shape.name)),
        "spec": spec,
    });
    Some(Object {
        manifest,
        reason: format!("each pod of {} claims {} devices", shape.name, shape.devices_per_pod),
    })
}

/// Its name.
pub(super) fn name(owner: &Owner<'_>, shape: &Shape<'_>) -> String {
    let text = spec(shape).unwrap_or_default().to_string();
    let hash = text.bytes().fold(FNV_OFFSET, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(FNV_PRIME));
    format!("{}-{hash:08x}", owner.workload(shape.name))
}

fn spec(shape: &Shape<'_>) -> Option<Value> {
    let Some(Request::Claim(claim)) = shape.device.request else { return None };
    let selectors: Vec<Value> =
        claim.selectors.iter().map(|text| json!({"cel": {"expression": text}})).collect();
    let mut exactly = json!({"deviceClassName": claim.device_class, "count": shape.devices_per_pod});
    if !selectors.is_empty() {
        put(&mut exactly, "selectors", selectors);
    }
    Some(json!({"spec": {"devices": {"requests": [{"name": "devices", "exactly": exactly}]}}}))
}
