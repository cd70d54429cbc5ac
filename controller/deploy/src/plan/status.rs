//! The status: what is the case, what is waited for, and what is wrong, in words.

use super::names::Owner;
use super::observed::{Observed, ObservedWorkload};
use super::routing_address;
use super::workload::{replicas, workload};
use crate::api::{Condition, EngineKind, ModelService, ModelServiceStatus, Phase, RoleStatus};
use crate::problems::Problem;
use crate::shape::Shape;

/// Troubles of pods that a message names.
const NAMED_MAX: usize = 3;
const FINE: &str = "everything is as it should be";

/// How the roles do, together.
#[expect(clippy::struct_excessive_bools, reason = "four questions, each with its own meaning")]
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    is_complete: bool,
    can_serve: bool,
    is_idle: bool,
    has_trouble: bool,
}

/// The status of a ModelService that is not valid. What runs is what an earlier specification asked for, and how that does is seen.
pub(super) fn invalid(
    service: &ModelService,
    observed: &Observed,
    problems: &[Problem],
) -> ModelServiceStatus {
    let words: Vec<String> = problems.iter().map(Problem::to_string).collect();
    let message = words.join("; ");
    let before = service.status.clone().unwrap_or_default();
    let as_seen = |role: RoleStatus| {
        let seen = observed.workload(&role.workload);
        let (ready, updated) = seen.map_or((0, 0), |seen| (seen.ready, seen.updated));
        RoleStatus { ready, updated, message: waits_for(seen, role.wanted), ..role }
    };
    let roles: Vec<RoleStatus> = before.roles.into_iter().map(as_seen).collect();
    let tally = tally(&roles, observed);
    let waits = waits(&roles);
    let mut conditions = vec![
        condition(service, "Valid", false, "Invalid", &message),
        condition(
            service,
            "Progressing",
            false,
            "Invalid",
            "nothing is changed until the specification is valid",
        ),
    ];
    if !roles.is_empty() {
        conditions
            .extend([ready(service, tally, waits.as_deref()), degraded(service, tally, waits.as_deref())]);
        diagnoses(service, observed, &mut conditions);
    }
    ModelServiceStatus {
        observed_generation: service.metadata.generation,
        phase: Some(Phase::Invalid),
        message: Some(message),
        ready: (!roles.is_empty()).then(|| counts(&roles)),
        roles,
        conditions,
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
    let tally = tally(&roles, observed);
    let phase = match tally {
        Tally { is_idle: true, .. } => Phase::Idle,
        Tally { has_trouble: true, .. } => Phase::Degraded,
        Tally { is_complete: true, .. } => Phase::Ready,
        Tally { can_serve: true, .. } => Phase::Progressing,
        _ => Phase::Pending,
    };
    let message = waits(&roles);
    // What was reported last stays while nothing is: a service without requests is as warm as it was.
    let before = service.status.clone().unwrap_or_default();
    let traffic = observed.traffic;
    ModelServiceStatus {
        observed_generation: service.metadata.generation,
        phase: Some(phase),
        conditions: conditions(service, tally, message.as_deref(), observed),
        message,
        ready: Some(counts(&roles)),
        cached: traffic.map(|traffic| format!("{:.0}%", traffic.cached_percent)).or(before.cached),
        ttft_p90: traffic.map(|traffic| time(traffic.ttft_ms_p90)).or(before.ttft_p90),
        roles,
        addresses: vec![format!("inferencepool/{}", owner.name), routing_address(owner)],
    }
}

/// What the roles wait for.
fn waits(roles: &[RoleStatus]) -> Option<String> {
    let waits: Vec<String> =
        roles.iter().filter_map(|role| Some(format!("{}: {}", role.name, role.message.as_ref()?))).collect();
    (!waits.is_empty()).then(|| waits.join("; "))
}

/// `prefill 2/2, decode 3/4`.
fn counts(roles: &[RoleStatus]) -> String {
    let counts: Vec<String> =
        roles.iter().map(|role| format!("{} {}/{}", role.name, role.ready, role.wanted)).collect();
    counts.join(", ")
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
    let workload = workload(owner, shape);
    let seen = observed.workload(&workload);
    let as_seen = seen.map(|seen| seen.wanted);
    let of_others = as_seen.filter(|_| seen.is_some_and(|seen| seen.is_scaled_by_others));
    // Those that sleep are there, and not wanted at present.
    let sleeps =
        service.spec.autoscaling.sleep_level.is_some() && observed.scaled.get(&shape.name) == Some(&0);
    let wanted = of_others
        .or(sleeps.then_some(0))
        .or(replicas(owner, &service.spec, shape, observed))
        .or(as_seen)
        .unwrap_or(1);
    let (ready, updated) = seen.map_or((0, 0), |seen| (seen.ready, seen.updated));
    RoleStatus { name: shape.name, workload, wanted, ready, updated, message: waits_for(seen, wanted) }
}

fn waits_for(seen: Option<&ObservedWorkload>, wanted: i32) -> Option<String> {
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
    // Until they are gone, those that are ready may be the old ones.
    if seen.replicas > seen.updated {
        return Some(format!(
            "{} replicas of the form before remain",
            seen.replicas.saturating_sub(seen.updated)
        ));
    }
    (seen.ready < wanted).then(|| format!("{} of {wanted} replicas are ready", seen.ready))
}

fn tally(roles: &[RoleStatus], observed: &Observed) -> Tally {
    let seen = |role: &RoleStatus| observed.workload(&role.workload);
    Tally {
        is_complete: roles.iter().all(|role| role.message.is_none()),
        // A role that is at zero is not needed at present: decode engines serve alone.
        can_serve: roles.iter().any(|role| role.ready > 0)
            && roles.iter().all(|role| role.ready > 0 || role.wanted == 0),
        is_idle: roles.iter().all(|role| role.wanted == 0),
        has_trouble: roles.iter().any(|role| seen(role).is_some_and(|seen| !seen.troubles.is_empty())),
    }
}

fn ready(service: &ModelService, tally: Tally, waits: Option<&str>) -> Condition {
    let (reason, message) = match (tally.can_serve, tally.is_idle) {
        (true, _) => ("Serving", "each role that is wanted has a replica that is ready"),
        (false, true) => ("Idle", "no replica is wanted at present"),
        (false, false) => ("NotReady", waits.unwrap_or(FINE)),
    };
    condition(service, "Ready", tally.can_serve, reason, message)
}

fn degraded(service: &ModelService, tally: Tally, waits: Option<&str>) -> Condition {
    let reason = if tally.has_trouble { "PodsFail" } else { "NoTrouble" };
    condition(service, "Degraded", tally.has_trouble, reason, waits.unwrap_or(FINE))
}

/// The router's diagnoses, in place of what is known without it.
fn diagnoses(service: &ModelService, observed: &Observed, all: &mut Vec<Condition>) {
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
}

fn conditions(
    service: &ModelService,
    tally: Tally,
    waits: Option<&str>,
    observed: &Observed,
) -> Vec<Condition> {
    let spec = &service.spec;
    let progressing = !tally.is_complete && !tally.has_trouble;
    let mut all = vec![
        condition(service, "Valid", true, "Valid", "the specification can be carried out"),
        ready(service, tally, waits),
        condition(
            service,
            "Progressing",
            progressing,
            if progressing { "RollingOut" } else { "Settled" },
            waits.unwrap_or(FINE),
        ),
        degraded(service, tally, waits),
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
    diagnoses(service, observed, &mut all);
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
