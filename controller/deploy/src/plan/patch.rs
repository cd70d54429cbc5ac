//! The user's patches of a pod template.
//!
//! `k8s-openapi` merges lists by the keys that the API itself declares for server-side apply, so containers, variables, ports, volumes
//! and mounts are merged as `kubectl patch` merges them. Two fields differ there, and are merged here: `nodeSelector`, which that takes for
//! one value, and a volume's source, of which a volume has only one. A patch is refused if it has a field that a pod template does not have:
//! the API server would refuse the workload later, and nobody would see why.

use crate::problems::Problems;
use k8s_openapi::DeepMerge as _;
use k8s_openapi::api::core::v1::{PodTemplateSpec, Volume};
use serde_json::{Map, Value};

/// A template with patches applied, in their order; each with its field, for messages.
pub(super) fn patched(
    template: Value,
    patches: &[(String, &Map<String, Value>)],
    problems: &mut Problems,
) -> Value {
    let patches = patches.iter().filter(|(_, patch)| !patch.is_empty());
    let Ok(mut merged) = serde_json::from_value::<PodTemplateSpec>(template.clone()) else { return template };
    for (field, patch) in patches {
        let patch = Value::Object((*patch).clone());
        match serde_json::from_value::<PodTemplateSpec>(patch.clone()) {
            Ok(read) => {
                let known = serde_json::to_value(&read).unwrap_or_default();
                if let Some(unknown) = unknown(&patch, &known, "") {
                    problems.add(
                        format!("{field}{unknown}"),
                        "a pod template has no such field: check its spelling and its place",
                    );
                    continue;
                }
                merge(&mut merged, read);
            }
            Err(error) => problems.add(field.clone(), format!("it does not fit a pod template: {error}")),
        }
    }
    serde_json::to_value(merged).unwrap_or(template)
}

fn merge(into: &mut PodTemplateSpec, mut patch: PodTemplateSpec) {
    if let (Some(pod), Some(patch)) = (&mut into.spec, &mut patch.spec) {
        if let (Some(selector), Some(more)) = (&pod.node_selector, &mut patch.node_selector) {
            for (label, value) in selector {
                more.entry(label.clone()).or_insert_with(|| value.clone());
            }
        }
        let has_other_source = |old: &Volume| {
            patch.volumes.iter().flatten().any(|new| new.name == old.name && source(new) != source(old))
        };
        pod.volumes.iter_mut().for_each(|volumes| volumes.retain(|old| !has_other_source(old)));
    }
    into.merge_from(patch);
}

/// What a volume comes from, by the name of the field that says so.
fn source(volume: &Volume) -> Option<String> {
    let Ok(Value::Object(fields)) = serde_json::to_value(volume) else { return None };
    fields.into_iter().map(|(name, _)| name).find(|name| name != "name")
}

/// The first field of `patch` that `known` lacks, from `at` on.
fn unknown(patch: &Value, known: &Value, at: &str) -> Option<String> {
    match (patch, known) {
        (Value::Object(patch), Value::Object(known)) => patch.iter().find_map(|(name, value)| {
            let at = format!("{at}.{name}");
            match known.get(name) {
                Some(known) => unknown(value, known, &at),
                None => Some(at),
            }
        }),
        (Value::Array(patch), Value::Array(known)) => patch
            .iter()
            .zip(known)
            .enumerate()
            .find_map(|(index, (patch, known))| unknown(patch, known, &format!("{at}[{index}]"))),
        _ => None,
    }
}
