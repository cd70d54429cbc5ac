//! What the status of a ModelService shows of its workloads, and when what its plan no longer has may go.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use warmpath_deploy::api::{ModelService, ModelServiceStatus, Phase};
use warmpath_deploy::plan::{Cluster, ObjectRef, Observed, ObservedWorkload, Plan, plan};

fn service(spec: &Value, status: Option<ModelServiceStatus>) -> ModelService {
    let mut service: ModelService = serde_json::from_value(json!({
        "apiVersion": "warmpath.dev/v1alpha1", "kind": "ModelService",
        "metadata": {"name": "llama", "namespace": "llm", "generation": 1},
        "spec": spec,
    }))
    .unwrap();
    service.status = status;
    service
}

fn of(roles: &Value) -> Value {
    json!({"model": {"name": "m"}, "roles": roles})
}

fn serve(tensor: u32) -> Value {
    of(&json!({"serve": {"hardware": {"gpu": {"type": "nvidia-h100"}}, "parallelism": {"tensor": tensor}}}))
}

fn object(kind: &str, name: &str) -> ObjectRef {
    let api_version = if kind == "Deployment" { "apps/v1" } else { "leaderworkerset.x-k8s.io/v1" };
    ObjectRef { api_version: api_version.to_owned(), kind: kind.to_owned(), name: name.to_owned() }
}

/// A workload with replicas: wanted, all, those of the current form, those that are ready.
fn replicas(wanted: i32, replicas: i32, updated: i32, ready: i32) -> ObservedWorkload {
    ObservedWorkload { wanted, replicas, updated, ready, is_current: true, ..ObservedWorkload::default() }
}

fn seen(workloads: &[(&str, &str, ObservedWorkload)]) -> Observed {
    let workloads: BTreeMap<ObjectRef, ObservedWorkload> =
        workloads.iter().map(|(kind, name, seen)| (object(kind, name), seen.clone())).collect();
    let owned: BTreeSet<ObjectRef> = workloads.keys().cloned().collect();
    Observed { workloads, owned, ..Observed::default() }
}

fn planned(spec: &Value, observed: &Observed) -> Plan {
    let plan = plan(&service(spec, None), &Cluster::default(), observed);
    assert!(plan.problems.is_empty(), "{:?}", plan.problems);
    plan
}

fn condition<'a>(status: &'a ModelServiceStatus, kind: &str) -> Option<(&'a str, &'a str)> {
    let found = status.conditions.iter().find(|condition| condition.kind == kind)?;
    Some((&found.status, &found.message))
}

#[test]
fn what_serves_stays_until_what_takes_its_place_is_ready() {
    let (old, new) = (("Deployment", "llama-serve"), ("LeaderWorkerSet", "llama-serve"));
    let retired = |spec: &Value, ready: Option<i32>| {
        let mut workloads = vec![(old.0, old.1, replicas(1, 1, 1, 1))];
        workloads.extend(ready.map(|ready| (new.0, new.1, replicas(1, 1, 1, ready))));
        planned(spec, &seen(&workloads)).retire
    };
    // 16 devices are two nodes.
    for ready in [None, Some(0)] {
        assert_eq!(retired(&serve(16), ready), [], "{ready:?}");
    }
    assert_eq!(retired(&serve(16), Some(1)), [object(old.0, old.1)]);
    let mut full = serve(16);
    full["rollout"] = json!({"maxSurge": 0, "maxUnavailable": 1});
    assert_eq!(retired(&full, Some(0)), [object(old.0, old.1)], "there is no room for both");
}

#[test]
fn a_rollout_that_has_not_brought_up_its_last_replica_is_not_over() {
    let status = planned(&serve(1), &seen(&[("Deployment", "llama-serve", replicas(1, 2, 1, 1))])).status;
    assert_eq!(status.phase, Some(Phase::Progressing), "the old pod is the one that is ready");
    assert_eq!(condition(&status, "Progressing").unwrap().0, "True");
    let status = planned(&serve(1), &seen(&[("Deployment", "llama-serve", replicas(1, 1, 1, 1))])).status;
    assert_eq!(status.phase, Some(Phase::Ready));
}

#[test]
fn replicas_that_somebody_else_has_set_are_those_that_are_wanted() {
    let mut four = serve(1);
    four["roles"]["serve"]["replicas"] = json!({"min": 4});
    for (is_scaled_by_others, phase) in [(true, Phase::Ready), (false, Phase::Progressing)] {
        let three = ObservedWorkload { is_scaled_by_others, ..replicas(3, 3, 3, 3) };
        let status = planned(&four, &seen(&[("Deployment", "llama-serve", three)])).status;
        assert_eq!(status.phase, Some(phase));
    }
}

#[test]
fn a_role_at_zero_keeps_no_service_from_being_ready() {
    let hardware = json!({"gpu": {"type": "nvidia-h100"}});
    let spec = of(&json!({
        "prefill": {"replicas": {"min": 0}, "hardware": hardware}, "decode": {"hardware": hardware},
    }));
    let workloads = |decode: i32| {
        seen(&[
            ("Deployment", "llama-prefill", replicas(0, 0, 0, 0)),
            ("Deployment", "llama-decode", replicas(1, 1, 1, decode)),
        ])
    };
    let status = planned(&spec, &workloads(1)).status;
    assert_eq!((status.phase, condition(&status, "Ready").unwrap().0), (Some(Phase::Ready), "True"));
    let status = planned(&spec, &workloads(0)).status;
    assert_eq!(condition(&status, "Ready").unwrap().0, "False", "nothing serves");
}

#[test]
fn a_status_follows_what_runs_also_where_the_specification_is_not_valid() {
    let running = seen(&[("Deployment", "llama-serve", replicas(1, 1, 1, 1))]);
    let before = planned(&serve(1), &running).status;
    let mut failing = seen(&[("Deployment", "llama-serve", replicas(1, 1, 1, 0))]);
    for seen in failing.workloads.values_mut() {
        seen.troubles = vec!["pod llama-serve-a: out of memory".to_owned()];
    }
    // No count of nodes has 12 devices.
    let plan = plan(&service(&serve(12), Some(before)), &Cluster::default(), &failing);
    assert!(!plan.problems.is_empty() && plan.retire.is_empty());
    let status = plan.status;
    assert_eq!((status.phase, status.ready.as_deref()), (Some(Phase::Invalid), Some("serve 0/1")));
    assert_eq!(condition(&status, "Ready").unwrap().0, "False");
    let degraded = condition(&status, "Degraded").unwrap();
    assert!(degraded.0 == "True" && degraded.1.contains("out of memory"), "{degraded:?}");
}
