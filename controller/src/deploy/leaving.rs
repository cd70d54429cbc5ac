//! Which pods leave when a role shrinks: the coldest, which the scaler names. Pure.
//!
//! A ReplicaSet that shrinks removes the pods whose deletion costs least, and of equals the youngest, whatever their caches hold. So the
//! pods that should leave are marked before the number is written. A LeaderWorkerSet removes those with the highest numbers, and
//! nothing changes that.

use super::difference::is_set_by_others;
use super::seen::Seen;
use super::step::Target;
use crate::watch::Kind;
use serde_json::Value;
use warmpath_deploy::plan::ROLE_LABEL;

/// The cost of a pod that should leave. Others have none, which counts as 0.
pub(super) const LEAVES: i32 = -1;

/// The marks to change before these manifests are written: pods by their names, with the cost that they get.
pub(super) fn marks(seen: &Seen, manifests: &[Value]) -> Vec<(String, Option<i32>)> {
    let mut found = Vec::new();
    for manifest in manifests {
        let Some(target) = Target::of(manifest).filter(|target| target.kind == Kind::Deployment) else {
            continue;
        };
        // Where others set the replicas, ours are not written.
        let replicas = ["f:spec", "f:replicas"];
        if seen.made.get(&target).is_some_and(|live| is_set_by_others(live, &replicas, seen.respect())) {
            continue;
        }
        let role = manifest.pointer("/metadata/labels").and_then(|labels| labels.get(ROLE_LABEL)?.as_str());
        let before = seen.made.get(&target).and_then(|live| live.data.pointer("/spec/replicas")?.as_u64());
        let after = manifest.pointer("/spec/replicas").and_then(Value::as_u64);
        let (Some(role), Some(before), Some(after)) = (role, before, after) else { continue };
        // If all go, nobody is chosen.
        if after == 0 || after >= before {
            continue;
        }
        let staying = seen.pods.iter().filter(|(_, pod)| pod.role == role && !pod.is_leaving);
        let staying: Vec<(&String, Option<i32>)> =
            staying.map(|(name, pod)| (name, pod.deletion_cost)).collect();
        let order = seen.scaling.iter().flat_map(|scaling| &scaling.roles);
        let order = order.filter(|(name, _)| name.as_str() == role).flat_map(|(_, scaling)| &scaling.order);
        let there = order.filter(|name| staying.iter().any(|(pod, _)| pod == name));
        let most = staying.len().saturating_sub(usize::try_from(after).unwrap_or(usize::MAX));
        let leaving: Vec<&String> = there.take(most).collect();
        for (name, before) in staying {
            let cost = leaving.contains(&name).then_some(LEAVES);
            if before != cost {
                found.push((name.clone(), cost));
            }
        }
    }
    found
}

/// The patch that marks a pod.
pub(super) fn patch(cost: Option<i32>) -> Value {
    let cost = cost.map(|cost| cost.to_string());
    serde_json::json!({"metadata": {"annotations": {crate::watch::DELETION_COST_ANNOTATION: cost}}})
}

#[cfg(test)]
mod tests {
    use super::{LEAVES, marks, patch};
    use crate::config::ObjectName;
    use crate::deploy::seen::Seen;
    use crate::deploy::step::Target;
    use crate::scale::{RoleScaling, Scaling};
    use crate::watch::{EnginePod, Kind};
    use kube::api::DynamicObject;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use warmpath_deploy::api::RoleName;

    fn object(value: Value) -> Arc<DynamicObject> {
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn deployment(replicas: i32) -> Value {
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "llama-decode", "namespace": "llm", "labels": {"warmpath.dev/role": "decode"}},
            "spec": {"replicas": replicas},
        })
    }

    /// Three decode engines, marked so, of which the second is to leave first, then the third.
    fn seen(costs: [Option<i32>; 3]) -> Seen {
        let name = |name: &str| ObjectName { namespace: "llm".to_owned(), name: name.to_owned() };
        let pod = |(at, deletion_cost): (usize, Option<i32>)| {
            (
                format!("pod-{at}"),
                EnginePod { role: "decode".to_owned(), deletion_cost, ..EnginePod::default() },
            )
        };
        let order = ["gone", "pod-1", "pod-2", "pod-0"].map(str::to_owned).to_vec();
        let roles = BTreeMap::from([(RoleName::Decode, RoleScaling { replicas: 3, order })]);
        let service = json!({"apiVersion": "warmpath.dev/v1alpha1", "kind": "ModelService", "metadata": {"name": "llama"}});
        let target = Target { kind: Kind::Deployment, name: name("llama-decode") };
        Seen {
            made: BTreeMap::from([(target, object(deployment(3)))]),
            name: name("llama"),
            service: object(service),
            pods: costs.into_iter().enumerate().map(pod).collect(),
            insight: None,
            scaling: Some(Scaling { roles, ..Scaling::default() }),
        }
    }

    fn marked(costs: [Option<i32>; 3], replicas: i32) -> Vec<(String, Option<i32>)> {
        marks(&seen(costs), &[deployment(replicas)])
    }

    #[test]
    fn whoever_should_leave_is_marked_before_the_role_shrinks_and_old_marks_are_removed() {
        let mark = |name: &str, cost| (name.to_owned(), cost);
        let leaves = Some(LEAVES);
        assert_eq!(marked([None; 3], 2), [mark("pod-1", leaves)]);
        assert_eq!(marked([None; 3], 1), [mark("pod-1", leaves), mark("pod-2", leaves)]);
        assert_eq!(marked([leaves, None, None], 2), [mark("pod-0", None), mark("pod-1", leaves)]);
        assert_eq!(marked([None, leaves, None], 2), []);
        let annotations = |cost| patch(cost)["metadata"]["annotations"].clone();
        assert_eq!(annotations(leaves), json!({"controller.kubernetes.io/pod-deletion-cost": "-1"}));
        assert_eq!(annotations(None), json!({"controller.kubernetes.io/pod-deletion-cost": null}));
    }

    #[test]
    fn nobody_is_marked_for_a_role_that_stays_grows_or_goes_to_zero() {
        for replicas in [3, 5, 0] {
            assert_eq!(marked([None; 3], replicas), [], "{replicas}");
        }
    }
}
