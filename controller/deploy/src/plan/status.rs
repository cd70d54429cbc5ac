//! The status: what is the case, what is waited for, and what is wrong, in words.

use super::names::Owner;
use super::observed::{Observed, ObservedRole};
use super::problems::Problem;
use super::routing_address;
use super::shape::Shape;
use super::workload::{replicas, workload};
use crate::api::{Condition, EngineKind, ModelService, ModelServiceStatus, Phase, RoleStatus};

/// Troubles of pods that a message names.
const NAMED_MAX: usize = 3;

/// How the roles do, together.
#[expect(clippy::struct_excessive_bools, reason = "four questions, each with its own meaning")]
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    is_complete: bool,
    can_serve: bool,
    is_idle: bool,
    has_trouble: bool,
}

/// The status of a ModelService that is not valid. What was ready stays as it is.
pub(super) fn invalid(service: &ModelService, problems: &[Problem]) -> ModelServiceStatus {
    let words: Vec<String> = problems.iter().map(Problem::to_string).collect();
    let message = words.join("; ");
    let before = service.status.clone().unwrap_or_default();
    ModelServiceStatus {
        observed_generation: service.metadata.generation,
        phase: Some(Phase::Invalid),
        message: Some(message.clone()),
        conditions: vec![
            condition(service, "Valid", false, "Invalid", &message),
            condition(
                service,
                "Progressing",
                false,
                "Invalid",
                "nothing is changed until the specification is valid",
            ),
        ],
        ..before
    }
}

/// The status of a ModelService that is carried out.
pub(super) fn status(
    service: &ModelService,
    owner: &Owner<'_>,
    shapes: &[Shape<'_>],
    observed: &Observed,
) -> ModelServiceStatus {
    let roles: Vec<RoleStatus> = shapes.iter().map(|shape| role(service, owner, shape, observed)).collect();
    let tally = tally(shapes, &roles, observed);
    let phase = match tally {
        Tally { is_idle: true, .. } => Phase::Idle,
        Tally { has_trouble: true, .. } => Phase::Degraded,
        Tally { is_complete: true, .. } => Phase::Ready,
        Tally { can_serve: true, .. } => Phase::Progressing,
        _ => Phase::Pending,
    };
    let waits: Vec<String> =
        roles.iter().filter_map(|role| Some(format!("{}: {}", role.name, role.message.as_ref()?))).collect();
    let message = (!waits.is_empty()).then(|| waits.join("; "));
    let ready: Vec<String> =
        roles.iter().map(|role| format!("{} {}/{}", role.name, role.ready, role.wanted)).collect();
    // What was reported last stays while nothing is: a service without requests is as warm as it was.
    let before = service.status.clone().unwrap_or_default();
    let traffic = observed.traffic;
    ModelServiceStatus {
        observed_generation: service.metadata.generation,
        phase: Some(phase),
        conditions: conditions(service, tally, message.as_deref(), observed),
        message,
        ready: Some(ready.join(", ")),
        cached: traffic.map(|traffic| format!("{:.0}%", traffic.cached_percent)).or(before.cached),
        ttft_p90: traffic.map(|traffic| time(traffic.ttft_ms_p90)).or(before.ttft_p90),
        roles,
        addresses: vec![format!("inferencepool/{}", owner.name), routing_address(owner)],
    }
}

/// A time with two digits or three: `42ms`, `1.3s`, `75s`.
fn time(ms: f64) -> String {
    match ms / 1e3 {
        s if s < 1.0 => format!("{ms:.0}ms"),
        s if s < 10.0 => format!("{s:.1}s"),
        s => format!("{s:.0}s"),
    }
}

fn role(service: &ModelService, owner: &Owner<'_>, shape: &Shape<'_>, observed: &Observed) -> RoleStatus {
    let seen = observed.roles.get(&shape.name);
    let wanted = replicas(&service.spec, shape, observed).or(seen.map(|seen| seen.wanted)).unwrap_or(1);
    let (ready, updated) = seen.map_or((0, 0), |seen| (seen.ready, seen.updated));
    RoleStatus {
        name: shape.name,
        workload: workload(owner, shape),
        wanted,
        ready,
        updated,
        message: waits_for(seen, wanted),
    }
}

fn waits_for(seen: Option<&ObservedRole>, wanted: i32) -> Option<String> {
    let Some(seen) = seen else { return Some("its workload is not there yet".to_owned()) };
    if !seen.troubles.is_empty() {
        let named: Vec<&str> = seen.troubles.iter().take(NAMED_MAX).map(String::as_str).collect();
        let more = seen.troubles.len().saturating_sub(named.len());
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        return Some(format!("{}{more}", named.join(", ")));
    }
    if !seen.is_current {
        return Some("its change is not seen yet".to_owned());
    }
    if seen.updated < wanted {
        return Some(format!("{} of {wanted} replicas have the current form", seen.updated));
    }
    (seen.ready < wanted).then(|| format!("{} of {wanted} replicas are ready", seen.ready))
}

fn tally(shapes: &[Shape<'_>], roles: &[RoleStatus], observed: &Observed) -> Tally {
    let seen = |shape: &Shape<'_>| observed.roles.get(&shape.name);
    Tally {
        is_complete: roles.iter().all(|role| role.message.is_none()),
        can_serve: roles.iter().all(|role| role.ready > 0),
        is_idle: roles.iter().all(|role| role.wanted == 0),
        has_trouble: shapes.iter().any(|shape| seen(shape).is_some_and(|seen| !seen.troubles.is_empty())),
    }
}

fn conditions(
    service: &ModelService,
    tally: Tally,
    waits: Option<&str>,
    observed: &Observed,
) -> Vec<Condition> {
    let spec = &service.spec;
    let waits = waits.unwrap_or("everything is as it should be");
    let ready = match (tally.can_serve, tally.is_idle) {
        (true, _) => ("Serving", "each role has a replica that is ready"),
        (false, true) => ("Idle", "no replica is wanted at present"),
        (false, false) => ("NotReady", waits),
    };
    let progressing = !tally.is_complete && !tally.has_trouble;
    let mut all = vec![
        condition(service, "Valid", true, "Valid", "the specification can be carried out"),
        condition(service, "Ready", tally.can_serve, ready.0, ready.1),
        condition(
            service,
            "Progressing",
            progressing,
            if progressing { "RollingOut" } else { "Settled" },
            waits,
        ),
        condition(
            service,
            "Degraded",
            tally.has_trouble,
            if tally.has_trouble { "PodsFail" } else { "NoTrouble" },
            waits,
        ),
    ];
    if spec.autoscaling.enabled && observed.scaled.is_empty() {
        let message = "the demand is not known yet: the replicas stay as they are";
        all.push(condition(service, "Scaling", false, "NotYetSeen", message));
    }
    if spec.router.tokenizer.is_none() {
        let message = "what engines report of their caches does not count, only what responses show: set spec.router.tokenizer";
        all.push(condition(service, "CacheKnowledge", false, "NoTokenizer", message));
    } else if spec.engine.kind == EngineKind::Trtllm {
        let message =
            "TensorRT-LLM publishes nothing that several readers could follow: what responses show counts";
        all.push(condition(service, "CacheKnowledge", false, "NotPublished", message));
    }
    for diagnosis in &observed.diagnoses {
        all.retain(|known| known.kind != diagnosis.kind);
        all.push(condition(
            service,
            &diagnosis.kind,
            diagnosis.is_fine,
            &diagnosis.reason,
            &diagnosis.message,
        ));
    }
    all
}

fn condition(service: &ModelService, kind: &str, is_true: bool, reason: &str, message: &str) -> Condition {
    Condition {
        kind: kind.to_owned(),
        status: if is_true { "True" } else { "False" }.to_owned(),
        observed_generation: service.metadata.generation,
        last_transition_time: String::new(),
        reason: reason.to_owned(),
        message: message.to_owned(),
    }
}
