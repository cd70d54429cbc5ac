//! Engines that sleep when nothing is requested: what a ModelService asks, and which engines can.
//!
//! One check serves both, the plan that refuses a ModelService and the controller that puts engines to sleep: what is refused after it
//! was accepted, because the ModelService has changed or the controller has, is woken and sleeps no more.

use super::volumes::memory;
use crate::api::{EngineKind, ModelServiceSpec, RoleName, Vendor};
use crate::engines::HTTP_PORT;
use crate::problems::Problems;
use crate::shape::{Shape, path, shapes};
use std::collections::BTreeMap;

/// How the engines of a ModelService sleep when nothing is requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sleep {
    /// 1: with their weights in the host's memory; 2: without weights.
    pub level: u8,
}

/// How the engines sleep; `None`: they leave when nothing is requested, or stay, or cannot sleep.
pub fn sleep(spec: &ModelServiceSpec) -> Option<Sleep> {
    let level = spec.autoscaling.sleep_level?;
    let mut problems = Problems::default();
    check(spec, &shapes(spec, &mut Problems::default()), &mut problems);
    problems.into_list().is_empty().then_some(Sleep { level })
}

/// The ports of the engines in each pod of a role. A pod of a role that is not among them has [`HTTP_PORT`], as far as is known.
pub fn ports(spec: &ModelServiceSpec) -> BTreeMap<RoleName, Vec<u16>> {
    let of = |shape: &Shape<'_>| {
        let ranks = u16::try_from(shape.ranks_per_pod).unwrap_or(1);
        (shape.name, (0..ranks).map(|rank| HTTP_PORT.saturating_add(rank)).collect())
    };
    shapes(spec, &mut Problems::default()).iter().map(of).collect()
}

/// What sleeps must be one vLLM that one request puts to sleep, whose cache nobody else reads, and Warmpath must be who decides when.
pub(super) fn check(spec: &ModelServiceSpec, shapes: &[Shape<'_>], problems: &mut Problems) {
    let Some(level) = spec.autoscaling.sleep_level else { return };
    let mut add = |message: &str| problems.add("spec.autoscaling.sleepLevel", message);
    if !(spec.autoscaling.enabled && spec.autoscaling.scale_to_zero) {
        add(
            "engines sleep where Warmpath scales to zero: set autoscaling.enabled and scaleToZero, or remove it",
        );
    }
    if spec.engine.kind != EngineKind::Vllm {
        add("only vLLM can be put to sleep: remove it, and the engines leave at zero, or use vllm");
    } else if shapes.iter().any(|shape| !matches!(shape.device.vendor, Vendor::Nvidia | Vendor::Amd)) {
        add("vLLM sleeps on hardware of NVIDIA and AMD only: remove it, and the engines leave at zero");
    }
    if shapes.iter().any(|shape| shape.nodes > 1) {
        add("replicas of several nodes do not sleep: remove it, or choose fewer devices");
    }
    // NIXL and Mooncake register the cache's memory when the engine starts, and never again: a wake maps other memory at its addresses.
    if spec.roles.prefill.is_some() {
        add(
            "engines that pass KV on cannot do so after a wake: remove it, and the engines leave at zero, or use role serve",
        );
    }
    if shapes.iter().any(|shape| shape.cache.shared.as_ref().is_some_and(|shared| shared.mooncake.is_some()))
    {
        add(
            "an engine that falls asleep empties its Mooncake store, for all who share it: remove it, and the engines leave at zero, or use kvCache.shared.claim",
        );
    }
    for shape in shapes.iter().filter(|_| level == 1) {
        let stated = shape.role.hardware.requests.as_ref().and_then(|requests| requests.memory.as_ref());
        if let (None, Some(derived)) = (stated, memory(spec, shape)) {
            let message = format!(
                "at sleepLevel 1 the weights are in the host's memory as well, and with kvCache.cpu a pod may use {derived}: state that and their size together, or use sleepLevel 2"
            );
            problems.add(format!("{}.hardware.requests.memory", path(shape.name)), message);
        }
    }
}
