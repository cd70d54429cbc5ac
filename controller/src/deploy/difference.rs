//! What a manifest would change of an object that is there. Pure.
//!
//! The API server records in `metadata.managedFields` who set which field. From that record and the object itself follows, without
//! a request, whether an apply would change anything, and which fields it must leave alone because others set them. To send the
//! manifest each time and let the API server find that nothing changes would be a write call for each object and each change
//! anywhere in the cluster; a hash of the manifest in an annotation would miss what others have changed since.

use super::quantity::is_same_quantity;
use kube::api::DynamicObject;
use serde_json::{Map, Value, json};

/// The field manager, by which the API server knows what the controller set.
pub(super) const MANAGER: &str = "warmpath";

/// A field that somebody else set to another value. It stays as they set it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Contested {
    /// Its path: `.spec.template.spec.containers[engine].image`.
    pub(super) path: String,
    /// Who set it.
    pub(super) manager: String,
}

/// What is to be done with an object that is there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Difference {
    /// The manifest without the fields that others set.
    pub(super) manifest: Value,
    /// Those fields.
    pub(super) contested: Vec<Contested>,
    /// Whether the object has all of the manifest already, and nothing of an earlier one.
    pub(super) is_same: bool,
    /// Whether the manifest overrides what a person has set once.
    pub(super) is_forced: bool,
}

/// Whose writes count as others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Respect {
    /// Everybody's.
    All,
    /// Not those of `kubectl scale`: the API server remembers it for ever, but where a scaler sets the replicas, it was meant for that
    /// moment, as with a HorizontalPodAutoscaler.
    AllButKubectlScale,
}

/// The record of one node of an object: what is ours of it, and what is others'.
#[derive(Clone, Debug, Default)]
struct Owners<'a> {
    own: Option<&'a Value>,
    others: Vec<(&'a str, &'a Value)>,
}

/// A comparison under way.
#[derive(Debug)]
struct Walk {
    contested: Vec<Contested>,
    is_same: bool,
}

/// Whether others have set a field, by its path in the record.
pub(super) fn is_set_by_others(object: &DynamicObject, path: &[&str], respect: Respect) -> bool {
    let live = serde_json::to_value(&object.metadata).map(|metadata| json!({"metadata": metadata}));
    let live = live.unwrap_or_default();
    !path.iter().fold(Owners::of(&live, respect), |owners, key| owners.child(key)).others.is_empty()
}

/// Compares a manifest with the object that is there.
pub(super) fn difference(desired: &Value, live: &Value, respect: Respect) -> Difference {
    let owners = Owners::of(live, respect);
    // What was never applied has no record of ours, even if it looks the same.
    let mut walk = Walk { contested: Vec::new(), is_same: owners.own.is_some() };
    let own = owners.own;
    let mut manifest = walk.keep(desired, Some(live), &owners, "").unwrap_or_default();
    hand_over_replicas(&mut manifest, desired, live, &owners);
    let is_same = walk.is_same && !own.is_some_and(|fields| is_stale(fields, &manifest));
    let replicas = |respect| !Owners::of(live, respect).child("f:spec").child("f:replicas").others.is_empty();
    let is_forced = !is_same && replicas(Respect::All) && !replicas(respect);
    Difference { manifest, contested: walk.contested, is_same, is_forced }
}

/// Keeps the replicas of a workload that another scaler takes over, until it has written them. A field that nobody sets gets its
/// default: one replica would be left of however many there are.
fn hand_over_replicas(manifest: &mut Value, desired: &Value, live: &Value, owners: &Owners<'_>) {
    let record = owners.child("f:spec").child("f:replicas");
    let is_ours_alone = record.own.is_some() && record.others.is_empty();
    let (Some(replicas), None) = (live.pointer("/spec/replicas"), desired.pointer("/spec/replicas")) else {
        return;
    };
    if let (true, Some(Value::Object(spec))) = (is_ours_alone, manifest.get_mut("spec")) {
        spec.insert("replicas".to_owned(), replicas.clone());
    }
}

// === impl Owners ===

impl<'a> Owners<'a> {
    /// The record of an object. What was written to its status does not count: that is nobody's to apply.
    fn of(live: &'a Value, respect: Respect) -> Self {
        let mut owners = Self::default();
        let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
        for entry in entries.into_iter().flatten() {
            let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
            let Some(fields) = entry.get("fieldsV1") else { continue };
            match (text("manager"), text("operation"), text("subresource")) {
                (_, _, "status") => {}
                (MANAGER, "Apply", _) => owners.own = Some(fields),
                (manager, _, "scale")
                    if respect == Respect::AllButKubectlScale && manager.starts_with("kubectl") => {}
                (manager, _, _) => owners.others.push((manager, fields)),
            }
        }
        owners
    }

    /// The record of a child: `f:NAME` of a map, `k:{...}` of a list.
    fn child(&self, key: &str) -> Self {
        Self {
            own: self.own.and_then(|fields| fields.get(key)),
            others: self.others.iter().filter_map(|(name, fields)| Some((*name, fields.get(key)?))).collect(),
        }
    }

    /// The records of all.
    fn records(&self) -> impl Iterator<Item = &'a Map<String, Value>> {
        let all = self.own.into_iter().chain(self.others.iter().map(|(_, fields)| *fields));
        all.filter_map(Value::as_object)
    }

    /// The keys of a list's element, if the list is one whose elements have keys.
    fn key_of(&self, element: &Value) -> Option<&'a str> {
        self.records().flat_map(Map::keys).find(|key| is_key_of(key, element)).map(String::as_str)
    }

    fn is_keyed(&self) -> bool {
        self.records().flat_map(Map::keys).any(|key| key.starts_with("k:"))
    }

    /// Whether the record has this node, and nothing below it.
    fn is_whole(&self) -> bool {
        self.records().any(Map::is_empty)
    }
}

// === impl Walk ===

impl Walk {
    /// What stays of `desired` in the manifest; `None`: others set all of it.
    fn keep(
        &mut self,
        desired: &Value,
        live: Option<&Value>,
        owners: &Owners<'_>,
        path: &str,
    ) -> Option<Value> {
        match (desired, live) {
            (Value::Object(fields), Some(Value::Object(found))) if !owners.is_whole() => {
                Some(Value::Object(self.keep_map(fields, found, owners, path)))
            }
            (Value::Array(elements), Some(Value::Array(found))) if owners.is_keyed() => {
                Some(Value::Array(self.keep_list(elements, found, owners, path)))
            }
            _ => self.keep_whole(desired, live, owners, path),
        }
    }

    fn keep_map(
        &mut self,
        fields: &Map<String, Value>,
        found: &Map<String, Value>,
        owners: &Owners<'_>,
        path: &str,
    ) -> Map<String, Value> {
        let mut kept = Map::new();
        for (name, desired) in fields {
            let owners = owners.child(&format!("f:{name}"));
            if let Some(value) = self.keep(desired, found.get(name), &owners, &format!("{path}.{name}")) {
                kept.insert(name.clone(), value);
            }
        }
        kept
    }

    fn keep_list(
        &mut self,
        elements: &[Value],
        found: &[Value],
        owners: &Owners<'_>,
        path: &str,
    ) -> Vec<Value> {
        let mut kept = Vec::new();
        for desired in elements {
            let key = owners.key_of(desired);
            let live = key.and_then(|key| element_of(key, found));
            let path = format!("{path}[{}]", key.map(words_of).unwrap_or_default());
            let owners = key.map(|key| owners.child(key)).unwrap_or_default();
            kept.extend(self.keep(desired, live, &owners, &path));
        }
        kept
    }

    /// A value that has one owner, whatever is in it.
    fn keep_whole(
        &mut self,
        desired: &Value,
        live: Option<&Value>,
        owners: &Owners<'_>,
        path: &str,
    ) -> Option<Value> {
        if covers(desired, live, path) {
            return Some(desired.clone());
        }
        if let Some((manager, _)) = owners.others.first() {
            self.contested.push(Contested { path: path.to_owned(), manager: (*manager).to_owned() });
            return None;
        }
        self.is_same = false;
        Some(desired.clone())
    }
}

/// Whether `live` has all of `desired`; it may have more: what the API server adds by default.
fn covers(desired: &Value, live: Option<&Value>, path: &str) -> bool {
    let Some(live) = live else { return is_empty(desired) };
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => {
            desired.iter().all(|(name, value)| covers(value, live.get(name), &format!("{path}.{name}")))
        }
        (Value::Array(desired), Value::Array(live)) => {
            desired.len() == live.len()
                && desired.iter().zip(live).all(|(desired, live)| covers(desired, Some(live), path))
        }
        _ => desired == live || is_same_quantity(desired, live, path),
    }
}

/// Whether the API server may leave such a value out.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(value) => value.as_i64() == Some(0),
        Value::String(value) => value.is_empty(),
        Value::Array(value) => value.is_empty(),
        Value::Object(value) => value.values().all(is_empty),
    }
}

/// Whether fields are ours that the manifest lacks: an earlier one had them.
fn is_stale(fields: &Value, manifest: &Value) -> bool {
    let Some(fields) = fields.as_object() else { return false };
    fields.iter().any(|(key, below)| {
        let found = if let Some(name) = key.strip_prefix("f:") {
            manifest.get(name)
        } else if key.starts_with("k:") {
            manifest.as_array().and_then(|elements| element_of(key, elements))
        } else if let Some(value) = key.strip_prefix("v:") {
            let value = serde_json::from_str::<Value>(value).unwrap_or_default();
            manifest.as_array().and_then(|elements| elements.iter().find(|element| **element == value))
        } else {
            // The node itself.
            return false;
        };
        found.is_none_or(|found| is_stale(below, found))
    })
}

/// The element of a list that has the key.
fn element_of<'a>(key: &str, elements: &'a [Value]) -> Option<&'a Value> {
    elements.iter().find(|element| is_key_of(key, element))
}

/// The fields of a key: `k:{"name":"engine"}`.
fn fields_of(key: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(key.strip_prefix("k:")?).ok()
}

/// Whether a list's element has the key `k:{"name":"engine"}`. A field of the key that it lacks has its default.
fn is_key_of(key: &str, element: &Value) -> bool {
    let Some(key) = fields_of(key) else { return false };
    let mut is_any = false;
    let fits = key.iter().all(|(name, value)| {
        let found = element.get(name);
        is_any |= found.is_some();
        found.is_none_or(|found| found == value)
    });
    fits && is_any
}

/// The values of a key, for people.
fn words_of(key: &str) -> String {
    let words = fields_of(key).into_iter().flat_map(Map::into_iter).map(|(_, value)| match value {
        Value::String(text) => text,
        other => other.to_string(),
    });
    words.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
