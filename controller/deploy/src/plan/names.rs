//! Names and labels of what a ModelService becomes.

use super::observed::ObjectRef;
use crate::api::{GROUP, ModelService, RoleName};
use serde_json::{Map, Value, json};

/// The label with the name of the ModelService that made an object.
pub const SERVICE_LABEL: &str = "warmpath.dev/model-service";
/// The label with the role of a workload and its pods.
pub const ROLE_LABEL: &str = "warmpath.dev/role";
/// The label of pods that take requests: of a replica of several nodes, some pods only compute.
pub const ENDPOINT_LABEL: &str = "warmpath.dev/endpoint";
/// The label's value while a pod takes requests. Services and pools select by it, so that a pod with another one gets none, through any
/// gateway.
pub const TAKES_REQUESTS: &str = "true";
/// How the label's value begins while a pod sleeps, or is about to; the level follows.
const ASLEEP: &str = "asleep-";
/// The label by which the router learns what a pod does.
pub const LLM_D_ROLE_LABEL: &str = "llm-d.ai/role";
/// The label with the manager of an object.
const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// The manager.
const MANAGER: &str = "warmpath";

/// Who makes objects: name and namespace of a ModelService, and its identity, where it has one.
#[derive(Clone, Debug)]
pub(super) struct Owner<'a> {
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    uid: Option<&'a str>,
}

// === impl Owner ===

impl<'a> Owner<'a> {
    pub(super) fn of(service: &'a ModelService) -> Self {
        Self {
            name: service.metadata.name.as_deref().unwrap_or_default(),
            namespace: service.metadata.namespace.as_deref().unwrap_or("default"),
            uid: service.metadata.uid.as_deref(),
        }
    }

    /// The name of a role's workload.
    pub(super) fn workload(&self, role: RoleName) -> String {
        format!("{}-{role}", self.name)
    }

    /// The labels of an object, beside those of its role.
    pub(super) fn labels(&self, role: Option<RoleName>) -> Map<String, Value> {
        let mut labels = Map::new();
        labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGER.into());
        labels.insert(SERVICE_LABEL.to_owned(), self.name.into());
        if let Some(role) = role {
            labels.insert(ROLE_LABEL.to_owned(), role.as_str().into());
        }
        labels
    }

    /// The metadata of an object. `warmpath plan` has no identity to name as the owner's.
    pub(super) fn metadata(&self, name: &str, role: Option<RoleName>) -> Map<String, Value> {
        let mut metadata = Map::new();
        metadata.insert("name".to_owned(), name.into());
        metadata.insert("namespace".to_owned(), self.namespace.into());
        metadata.insert("labels".to_owned(), self.labels(role).into());
        if let Some(uid) = self.uid {
            let owner = json!([{
                "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "ModelService", "name": self.name, "uid": uid,
                "controller": true, "blockOwnerDeletion": true,
            }]);
            metadata.insert("ownerReferences".to_owned(), owner);
        }
        metadata
    }
}

/// The value of [`ENDPOINT_LABEL`] of a pod that sleeps at this level.
pub fn asleep(level: u8) -> String {
    format!("{ASLEEP}{level}")
}

/// The level at which a pod sleeps, by the value of [`ENDPOINT_LABEL`]; `None`: it does not.
pub fn asleep_at(value: &str) -> Option<u8> {
    value.strip_prefix(ASLEEP)?.parse().ok()
}

/// What a manifest is of.
pub(super) fn reference(manifest: &Value) -> ObjectRef {
    let text =
        |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    ObjectRef { api_version: text("/apiVersion"), kind: text("/kind"), name: text("/metadata/name") }
}
