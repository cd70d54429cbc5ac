//! What is to be done with each object of a plan, from what is there. Pure.

use super::difference::{Contested, Respect, difference};
use crate::config::ObjectName;
use crate::watch::Kind;
use kube::api::DynamicObject;
use serde_json::Value;
use warmpath_deploy::plan::SERVICE_LABEL;

/// An object by its kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    /// Its kind.
    pub(super) kind: Kind,
    /// Its name.
    pub(super) name: ObjectName,
}

/// What is to be done with one object.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Nothing: it is as it should be.
    Keep,
    /// Make it, if nobody has an object of this name.
    Create(Value),
    /// Apply the manifest, without what others set.
    Apply(Value),
    /// Apply the manifest over what a person has set once.
    Force(Value),
    /// Nothing: it is somebody else's.
    LeaveAlone,
    /// Nothing yet: it is being deleted, and is made anew when it has gone.
    Wait,
}

// === impl Step ===

impl Step {
    /// What is to be done to bring `live` to `manifest`, and which fields stay as others set them.
    pub(super) fn of(
        manifest: &Value,
        live: Option<&DynamicObject>,
        owner_uid: &str,
        respect: Respect,
    ) -> (Self, Vec<Contested>) {
        let Some(live) = live else { return (Self::Create(manifest.clone()), Vec::new()) };
        if !is_ours(live, owner_uid, manifest) {
            return (Self::LeaveAlone, Vec::new());
        }
        if live.metadata.deletion_timestamp.is_some() {
            return (Self::Wait, Vec::new());
        }
        let mut live = serde_json::to_value(live).unwrap_or_default();
        // The API server leaves them out of the items of a list.
        for name in ["apiVersion", "kind"] {
            if let (Some(live), Some(value)) = (live.as_object_mut(), manifest.get(name)) {
                live.insert(name.to_owned(), value.clone());
            }
        }
        let found = difference(manifest, &live, respect);
        let step = match (found.is_same, found.is_forced) {
            (true, _) => Self::Keep,
            (false, false) => Self::Apply(found.manifest),
            (false, true) => Self::Force(found.manifest),
        };
        (step, found.contested)
    }
}

// === impl Target ===

impl Target {
    /// Of a manifest; `None`: nothing of this kind is applied.
    pub(super) fn of(manifest: &Value) -> Option<Self> {
        let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str);
        let (version, kind) = (text("/apiVersion")?, text("/kind")?);
        let is_it = |it: &&Kind| {
            let resource = it.resource();
            resource.api_version == version && resource.kind == kind
        };
        let kind = *Kind::OF_MODELS.iter().find(is_it)?;
        let namespace = text("/metadata/namespace")?.to_owned();
        Some(Self { kind, name: ObjectName { namespace, name: text("/metadata/name")?.to_owned() } })
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.resource().kind, self.name.name)
    }
}

/// Whether an object is the ModelService's: it owns it, or it made it and was deleted without it.
pub(super) fn is_ours(live: &DynamicObject, owner_uid: &str, manifest: &Value) -> bool {
    let owners = live.metadata.owner_references.as_deref().unwrap_or_default();
    if owners.iter().any(|owner| owner.uid == owner_uid) {
        return true;
    }
    let made_by = live.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_LABEL));
    let wanted = manifest.pointer("/metadata/labels").and_then(|labels| labels.get(SERVICE_LABEL));
    let is_orphan = !owners.iter().any(|owner| owner.controller == Some(true));
    is_orphan && made_by.is_some() && made_by.map(String::as_str) == wanted.and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::{Respect, SERVICE_LABEL, Step, Target};
    use crate::watch::Kind;
    use kube::api::DynamicObject;
    use serde_json::{Value, json};

    fn manifest() -> Value {
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "llama-decode", "namespace": "llm", "labels": {SERVICE_LABEL: "llama"}},
            "spec": {"replicas": 4},
        })
    }

    fn live(metadata: &Value) -> DynamicObject {
        let mut object = manifest();
        object["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        object["metadata"]["managedFields"] = json!([{"manager": "warmpath", "operation": "Apply", "fieldsV1": {
            "f:metadata": {"f:labels": {format!("f:{SERVICE_LABEL}"): {}}}, "f:spec": {"f:replicas": {}}}}]);
        serde_json::from_value(object).unwrap()
    }

    fn owner(uid: &str) -> Value {
        json!({"ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "n", "uid": uid, "controller": true}]})
    }

    #[test]
    fn an_object_is_made_kept_or_left_to_its_owner() {
        let step = |live: Option<&DynamicObject>| Step::of(&manifest(), live, "mine", Respect::All).0;
        assert_eq!(step(None), Step::Create(manifest()));
        assert_eq!(step(Some(&live(&owner("mine")))), Step::Keep);
        assert_eq!(step(Some(&live(&owner("other")))), Step::LeaveAlone);
        assert_eq!(step(Some(&live(&json!({})))), Step::Keep, "an orphan of ours");
        assert_eq!(step(Some(&live(&json!({"labels": {}})))), Step::LeaveAlone);
        let mut leaving = owner("mine");
        leaving["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(step(Some(&live(&leaving))), Step::Wait);
    }

    #[test]
    fn only_kinds_that_are_watched_are_applied() {
        let target = Target::of(&manifest()).unwrap();
        assert_eq!(
            (target.kind, target.to_string()),
            (Kind::Deployment, "Deployment llama-decode".to_owned())
        );
        let mut other = manifest();
        other["kind"] = json!("DaemonSet");
        assert_eq!(Target::of(&other), None);
    }
}
