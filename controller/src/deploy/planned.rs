//! A ModelService's plan: what the watches have shown becomes what `warmpath_deploy` reads, and its plan becomes steps. Pure.

use super::difference::is_set_by_others;
use super::events::{About, Note};
use super::insight::{Insight, is_diagnosis};
use super::seen::Seen;
use super::step::Target;
use crate::scale::Verdict;
use crate::watch::{EnginePod, Kind};
use kube::api::DynamicObject;
use serde_json::Value;
use std::collections::BTreeMap;
use warmpath_deploy::api::{Condition, ModelService, ModelServiceStatus, Phase, RoleName};
use warmpath_deploy::plan::{Cluster, Diagnosis, ObjectRef, Observed, ObservedWorkload, ROLE_LABEL, plan};

/// Reasons of pods that do not come up that a role names.
const TROUBLES_MAX: usize = 3;

/// What is to be done for a ModelService.
#[derive(Clone, Debug, Default)]
pub(super) struct Planned {
    /// The objects that there should be.
    pub(super) manifests: Vec<Value>,
    /// Those that there should be no more.
    pub(super) retire: Vec<Target>,
    /// How it does.
    pub(super) status: ModelServiceStatus,
    /// What a person should see.
    pub(super) notes: Vec<Note>,
}

/// Plans a ModelService.
pub(super) fn planned(seen: &Seen, cluster: &Cluster) -> Planned {
    let service = serde_json::to_value(seen.service.as_ref());
    let service: ModelService = match service.and_then(serde_json::from_value) {
        Ok(service) => service,
        Err(error) => return unreadable(&error),
    };
    let plan = plan(&service, cluster, &observed(seen));
    let retire = plan.retire.iter().filter_map(|object| {
        let is_it = |target: &&Target| {
            let resource = target.kind.resource();
            resource.api_version == object.api_version
                && resource.kind == object.kind
                && target.name.name == object.name
        };
        seen.made.keys().find(is_it).cloned()
    });
    let notes = plan.events.iter().map(|note| Note {
        is_warning: note.is_warning,
        reason: note.reason.clone(),
        about: About::Field(note.field.clone()),
        message: note.message.clone(),
    });
    Planned {
        retire: retire.collect(),
        notes: notes.collect(),
        manifests: plan.objects.into_iter().map(|object| object.manifest).collect(),
        status: plan.status,
    }
}

/// What an object is that an older or newer definition has let in.
fn unreadable(error: &serde_json::Error) -> Planned {
    let message = format!(
        "it does not fit the definition that this controller knows ({error}): apply the definition of the same version"
    );
    let condition = Condition {
        kind: "Valid".to_owned(),
        status: "False".to_owned(),
        observed_generation: None,
        last_transition_time: String::new(),
        reason: "Unreadable".to_owned(),
        message: message.clone(),
    };
    let status = ModelServiceStatus {
        phase: Some(Phase::Invalid),
        message: Some(message),
        conditions: vec![condition],
        ..ModelServiceStatus::default()
    };
    Planned { status, ..Planned::default() }
}

fn observed(seen: &Seen) -> Observed {
    let owned = seen.made.keys().map(reference);
    let mut workloads = BTreeMap::new();
    for (target, object) in &seen.made {
        if let (Kind::Deployment | Kind::LeaderWorkerSet, Some(role)) = (target.kind, role_of(object)) {
            workloads.insert(reference(target), observed_workload(target.kind, object, seen, role));
        }
    }
    let Insight { traffic, mut diagnoses } = seen.insight.clone().unwrap_or_else(|| before(&seen.service));
    diagnoses.extend(seen.scaling.as_ref().map(|scaling| scaled(&scaling.verdict)));
    Observed { workloads, scaled: seen.scaled(), owned: owned.collect(), traffic, diagnoses }
}

/// What the scaler says, as a condition.
fn scaled(verdict: &Verdict) -> Diagnosis {
    let Verdict { is_fine, reason, message } = verdict.clone();
    Diagnosis { kind: "Scaling".to_owned(), is_fine, reason, message }
}

/// The diagnoses that the status has: a controller that has just begun to lead knows nothing yet, and takes nothing back.
fn before(service: &DynamicObject) -> Insight {
    let status = service.data.get("status").cloned().unwrap_or_default();
    let status: ModelServiceStatus = serde_json::from_value(status).unwrap_or_default();
    let of_router = status.conditions.into_iter().filter(|condition| is_diagnosis(&condition.kind));
    let diagnoses = of_router.map(|condition| Diagnosis {
        is_fine: condition.status == "True",
        kind: condition.kind,
        reason: condition.reason,
        message: condition.message,
    });
    Insight { traffic: None, diagnoses: diagnoses.collect() }
}

fn reference(target: &Target) -> ObjectRef {
    let resource = target.kind.resource();
    ObjectRef { api_version: resource.api_version, kind: resource.kind, name: target.name.name.clone() }
}

fn observed_workload(kind: Kind, workload: &DynamicObject, seen: &Seen, role: RoleName) -> ObservedWorkload {
    let number = |pointer: &str| {
        let number = workload.data.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
        i32::try_from(number).unwrap_or(i32::MAX)
    };
    let observed = workload.data.pointer("/status/observedGeneration").and_then(Value::as_i64);
    let mut troubles = troubles(seen, role);
    troubles.extend(replica_failure(workload));
    // A role has two workloads for as long as one takes the place of the other; only one of them has groups.
    let is_of = |pod: &&EnginePod| {
        pod.role == role.as_str() && pod.group.is_some() == (kind == Kind::LeaderWorkerSet)
    };
    let sleeps = |pod: &&EnginePod| pod.is_ready && pod.asleep.is_some() && !pod.is_leaving;
    let asleep = seen.pods.values().filter(is_of).filter(sleeps);
    let asleep = i32::try_from(asleep.count()).unwrap_or(i32::MAX);
    ObservedWorkload {
        wanted: number("/spec/replicas"),
        is_scaled_by_others: is_set_by_others(workload, &["f:spec", "f:replicas"], seen.respect()),
        replicas: number("/status/replicas"),
        ready: number("/status/readyReplicas").saturating_sub(asleep).max(0),
        updated: number("/status/updatedReplicas"),
        // A LeaderWorkerSet has no such field.
        is_current: observed.is_none_or(|observed| Some(observed) >= workload.metadata.generation),
        troubles,
    }
}

/// Why there are no pods at all: a quota, an admission policy or a webhook refuses them.
fn replica_failure(workload: &DynamicObject) -> Option<String> {
    let conditions = workload.data.pointer("/status/conditions")?.as_array()?;
    let text =
        |condition: &Value, field: &str| condition.get(field).and_then(Value::as_str).map(str::to_owned);
    let fails = |condition: &&Value| {
        text(condition, "type").as_deref() == Some("ReplicaFailure")
            && text(condition, "status").as_deref() == Some("True")
    };
    text(conditions.iter().find(fails)?, "message")
}

/// Why pods do not come up: for each reason the first pod by its name, and how many others there are.
fn troubles(seen: &Seen, role: RoleName) -> Vec<String> {
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let of_role = seen.pods.iter().filter(|(_, pod)| pod.role == role.as_str() && !pod.is_leaving);
    for (name, trouble) in of_role.filter_map(|(name, pod)| Some((name, pod.trouble.as_deref()?))) {
        by_reason.entry(trouble).or_default().push(name);
    }
    let line = |(trouble, pods): (&str, Vec<&str>)| match pods.as_slice() {
        [] => trouble.to_owned(),
        [pod] => format!("pod {pod}: {trouble}"),
        [pod, more @ ..] => format!("pod {pod} and {} more: {trouble}", more.len()),
    };
    by_reason.into_iter().map(line).take(TROUBLES_MAX).collect()
}

fn role_of(object: &DynamicObject) -> Option<RoleName> {
    let label = object.metadata.labels.as_ref()?.get(ROLE_LABEL)?;
    [RoleName::Serve, RoleName::Prefill, RoleName::Decode].into_iter().find(|role| role.as_str() == label)
}

#[cfg(test)]
mod tests {
    use super::{EnginePod, Kind, ROLE_LABEL, Seen, Target, observed};
    use crate::config::ObjectName;
    use serde_json::json;
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use warmpath_deploy::plan::Asleep;

    #[test]
    fn an_engine_that_sleeps_is_not_missed_in_the_workload_that_takes_its_places() {
        let workload = |kind: Kind| {
            let target =
                Target { kind, name: ObjectName { namespace: "llm".to_owned(), name: "m-serve".to_owned() } };
            let object = json!({
                "metadata": {"name": "m-serve", "labels": {ROLE_LABEL: "serve"}},
                "spec": {"replicas": 1}, "status": {"readyReplicas": 1},
            });
            (target, Arc::new(serde_json::from_value(object).unwrap()))
        };
        let pod = |group: Option<&str>, asleep| EnginePod {
            role: "serve".to_owned(),
            group: group.map(str::to_owned),
            is_ready: true,
            asleep,
            ..EnginePod::default()
        };
        let pods = [("m-serve-old", pod(None, Some(Asleep::at(1)))), ("m-serve-0", pod(Some("0"), None))];
        let service = json!({"metadata": {"name": "m"}});
        let seen = Seen {
            name: ObjectName { namespace: "llm".to_owned(), name: "m".to_owned() },
            service: Arc::new(serde_json::from_value(service).unwrap()),
            made: BTreeMap::from([workload(Kind::Deployment), workload(Kind::LeaderWorkerSet)]),
            pods: pods.into_iter().map(|(name, pod)| (name.to_owned(), pod)).collect(),
            insight: None,
            scaling: None,
        };
        let ready: BTreeMap<String, i32> =
            observed(&seen).workloads.into_iter().map(|(of, workload)| (of.kind, workload.ready)).collect();
        let expected = [("Deployment".to_owned(), 0), ("LeaderWorkerSet".to_owned(), 1)];
        assert_eq!(ready, BTreeMap::from(expected));
    }
}
