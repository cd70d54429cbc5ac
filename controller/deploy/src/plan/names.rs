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
/// What follows the level from the moment before a pod is sent to sleep until it has said that it sleeps; its restarts follow.
const SENT: &str = "-sent-";
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

/// That a pod sleeps, or is about to, as the value of [`ENDPOINT_LABEL`] says: `asleep-1`, `asleep-1-sent-0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Asleep {
    /// The level.
    pub level: u8,
    /// The restarts of its containers when it was sent to sleep, unless it has said since that it sleeps: while they are as many, nobody
    /// may take it for awake, whatever it says.
    pub sent: Option<u32>,
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

// === impl Asleep ===

impl Asleep {
    /// At this level, with nothing sent whose end is not known.
    pub fn at(level: u8) -> Self {
        Self { level, sent: None }
    }

    /// What a value of [`ENDPOINT_LABEL`] says; `None`: that the pod does not sleep.
    pub fn of(value: &str) -> Option<Self> {
        let value = value.strip_prefix(ASLEEP)?;
        let Some((level, restarts)) = value.split_once(SENT) else {
            return Some(Self::at(value.parse().ok()?));
        };
        Some(Self { level: level.parse().ok()?, sent: Some(restarts.parse().ok()?) })
    }
}

impl std::fmt::Display for Asleep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{ASLEEP}{}", self.level)?;
        self.sent.map_or(Ok(()), |restarts| write!(f, "{SENT}{restarts}"))
    }
}

/// What a manifest is of.
pub(super) fn reference(manifest: &Value) -> ObjectRef {
    let text =
        |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    ObjectRef { api_version: text("/apiVersion"), kind: text("/kind"), name: text("/metadata/name") }
}

#[cfg(test)]
mod tests {
    use super::{Asleep, TAKES_REQUESTS};

    #[test]
    fn a_label_says_how_a_pod_sleeps() {
        for asleep in [Asleep::at(1), Asleep { level: 2, sent: Some(17) }] {
            assert_eq!(Asleep::of(&asleep.to_string()), Some(asleep));
        }
        assert_eq!(Asleep { level: 1, sent: Some(0) }.to_string(), "asleep-1-sent-0");
        for other in [TAKES_REQUESTS, "false", "asleep-", "asleep-x", "asleep-1-sent-", "asleep-1-failed"] {
            assert_eq!(Asleep::of(other), None, "{other}");
        }
    }
}
