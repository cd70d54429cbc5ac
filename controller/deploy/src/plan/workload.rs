//! The workload of a role: a Deployment, or a LeaderWorkerSet where a replica takes several nodes.

use super::Object;
use super::claims;
use super::names::Owner;
use super::observed::Observed;
use super::patch::patched;
use super::pod::Pod;
use crate::api::{ModelServiceSpec, RoleName, Workload};
use crate::json::put;
use crate::problems::Problems;
use crate::shape::{Shape, path};
use serde_json::{Map, Value, json};

/// Seconds that a rollout may take beyond the start of an engine, before it counts as stuck.
const PROGRESS_SECONDS: i32 = 600;
const REVISIONS: i32 = 3;

/// The objects of a role.
pub(super) fn objects(pod: Pod<'_>, observed: &Observed, problems: &mut Problems) -> Vec<Object> {
    let Pod { owner, spec, shape, .. } = pod;
    let name = owner.workload(shape.name);
    let mut found = Vec::new();
    found.extend(claims::template(owner, shape));
    let patches = [
        ("spec.engine.podTemplate".to_owned(), &spec.engine.additions.pod_template),
        (format!("{}.podTemplate", path(shape.name)), &shape.role.additions.pod_template),
    ];
    let mut template = |is_worker: bool| patched(pod.template(is_worker), &patches, problems);
    let replicas = replicas(owner, spec, shape, observed);
    let rollout = &spec.rollout;
    let kind = workload(owner, shape);
    let (mut body, reason) = if shape.nodes == 1 {
        let body = json!({
            "revisionHistoryLimit": REVISIONS,
            "progressDeadlineSeconds": rollout.startup_seconds.saturating_add(PROGRESS_SECONDS),
            "selector": {"matchLabels": selector(owner, shape.name)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": rollout.max_surge, "maxUnavailable": rollout.max_unavailable}},
            "template": template(false),
        });
        (body, format!("a replica of {} fits one node", shape.name))
    } else {
        let body = json!({
            "startupPolicy": "LeaderCreated",
            "rolloutStrategy": {"type": "RollingUpdate", "rollingUpdateConfiguration": {"maxSurge": rollout.max_surge, "maxUnavailable": rollout.max_unavailable}},
            "leaderWorkerTemplate": {
                "size": shape.nodes,
                "restartPolicy": "RecreateGroupOnPodRestart",
                "leaderTemplate": template(false),
                "workerTemplate": template(true),
            },
        });
        let devices = shape.devices_per_pod.saturating_mul(shape.nodes);
        (
            body,
            format!(
                "a replica of {} takes {devices} devices, {} nodes with {} each",
                shape.name, shape.nodes, shape.devices_per_pod
            ),
        )
    };
    if let Some(replicas) = replicas {
        put(&mut body, "replicas", replicas);
    }
    let metadata = owner.metadata(&name, Some(shape.name));
    let manifest =
        json!({"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": body});
    found.push(Object { manifest, reason });
    found.extend(disruption(owner, shape));
    found
}

/// The workload's kind and name.
pub(super) fn workload(owner: &Owner<'_>, shape: &Shape<'_>) -> Workload {
    let (api_version, kind) = if shape.nodes == 1 {
        ("apps/v1", "Deployment")
    } else {
        ("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet")
    };
    Workload { api_version: api_version.to_owned(), kind: kind.to_owned(), name: owner.workload(shape.name) }
}

/// The replicas to ask for; `None`: another scaler does.
pub(super) fn replicas(
    owner: &Owner<'_>,
    spec: &ModelServiceSpec,
    shape: &Shape<'_>,
    observed: &Observed,
) -> Option<i32> {
    if spec.autoscaling.external {
        return None;
    }
    let (min, max) = (shape.role.replicas.min, shape.role.replicas.max.unwrap_or(shape.role.replicas.min));
    let least = match (spec.autoscaling.scale_to_zero, spec.autoscaling.sleep_level) {
        (true, None) => 0,
        // Those that sleep stay.
        (true, Some(_)) => min.max(1),
        (false, _) => min,
    };
    if !spec.autoscaling.enabled {
        return Some(min);
    }
    let scaled = observed.scaled.get(&shape.name).map(|scaled| (*scaled).clamp(least, max.max(least)));
    // Until the scaler has seen anything, what runs stays.
    let kept = || observed.workload(&workload(owner, shape)).map(|seen| seen.wanted);
    scaled.or_else(kept).or(Some(if spec.autoscaling.scale_to_zero { least } else { min.max(1) }))
}

/// Nodes are drained one pod of a role at a time. A group of several nodes restarts as one, which a budget of pods cannot say.
fn disruption(owner: &Owner<'_>, shape: &Shape<'_>) -> Option<Object> {
    let most = shape.role.replicas.max.unwrap_or(shape.role.replicas.min);
    if shape.nodes > 1 || most < 2 {
        return None;
    }
    let manifest = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": owner.metadata(&owner.workload(shape.name), Some(shape.name)),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector(owner, shape.name)}},
    });
    Some(Object { manifest, reason: format!("drained nodes take one pod of {} at a time", shape.name) })
}

fn selector(owner: &Owner<'_>, role: RoleName) -> Map<String, Value> {
    let mut labels = owner.labels(Some(role));
    labels.retain(|name, _| name.starts_with("warmpath.dev/"));
    labels
}
