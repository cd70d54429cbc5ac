//! What a ModelService asks of the scaler, as that reads it.

use crate::api::{EngineKind, ModelServiceSpec, RoleName};
use crate::shape::path;
use std::collections::BTreeMap;
use warmpath_scale::{Policy, Problem, REPLICAS_MAX, RawBounds, RawPolicy};

/// What an operator asks of the scaler, Warmpath's or another one that follows its numbers; `None`: nothing scales.
///
/// # Errors
///
/// Everything in it that contradicts itself.
pub fn policy(spec: &ModelServiceSpec) -> Result<Option<Policy>, Vec<Problem>> {
    let autoscaling = &spec.autoscaling;
    if !(autoscaling.enabled || autoscaling.external) {
        return Ok(None);
    }
    // Another scaler goes to zero by its own settings.
    let least = if autoscaling.external && !autoscaling.scale_to_zero { 1 } else { i32::MIN };
    let bounds = spec.roles.iter().map(|(name, role)| {
        let min = role.replicas.min.max(least);
        // Another scaler has its own maximum.
        let most = autoscaling.external.then(|| i32::try_from(REPLICAS_MAX).unwrap_or(i32::MAX));
        (path(name), RawBounds { min, max: role.replicas.max.or(most) })
    });
    let objectives = spec.objectives.clone().unwrap_or_default();
    let raw = RawPolicy {
        roles: bounds.collect(),
        scale_to_zero: autoscaling.scale_to_zero,
        idle_s: autoscaling.idle_seconds.map(f64::from),
        sleeps: autoscaling.sleep_level.is_some(),
        ttft_ms: objectives.ttft_milliseconds,
        inter_token_ms: objectives.inter_token_milliseconds,
    };
    let within = |problem: Problem| {
        let field = if problem.field.starts_with("spec.") {
            problem.field
        } else {
            format!("spec.{}", problem.field)
        };
        Problem { field, ..problem }
    };
    Policy::of(&raw).map(Some).map_err(|problems| problems.into_iter().map(within).collect())
}

/// The ranks of a replica of each role that take requests by themselves, each with a port of its own: vLLM's, where data-parallel.
/// Other engines spread requests over their ranks.
pub fn ranks(spec: &ModelServiceSpec) -> BTreeMap<RoleName, u32> {
    let has_ports = spec.engine.kind == EngineKind::Vllm;
    let of = |data: u32| if has_ports { data.max(1) } else { 1 };
    spec.roles.iter().map(|(name, role)| (name, of(role.parallelism.data))).collect()
}
