//! What the cluster shows of a ModelService, as plain values.

use crate::api::{RoleName, Workload};
use std::collections::{BTreeMap, BTreeSet};

/// What the cluster shows of a ModelService.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// The workloads. A role whose replicas take one node more, or one less, has two for a while.
    pub workloads: BTreeMap<ObjectRef, ObservedWorkload>,
    /// Replicas that Warmpath's scaler asks for. A role that is not among them keeps those that it has.
    pub scaled: BTreeMap<RoleName, i32>,
    /// All objects that the ModelService owns. Those that the plan does not have are retired.
    pub owned: BTreeSet<ObjectRef>,
    /// What proxies report of its requests, if there were enough of them.
    pub traffic: Option<Traffic>,
    /// What the router finds wrong, or right, with its pool.
    pub diagnoses: Vec<Diagnosis>,
}

/// What a workload's status, and its pods', say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedWorkload {
    /// `spec.replicas`.
    pub wanted: i32,
    /// Whether others have set that, as `kubectl scale` does. It stays as they set it.
    pub is_scaled_by_others: bool,
    /// `status.replicas`: those of earlier pod templates as well.
    pub replicas: i32,
    /// `status.readyReplicas`, less those that sleep.
    pub ready: i32,
    /// `status.updatedReplicas`.
    pub updated: i32,
    /// Whether the status is about the current specification (`status.observedGeneration`).
    pub is_current: bool,
    /// Why pods do not come up, in words, one for each reason: `pod llama-decode-7d and 2 more: no node has room for it`.
    pub troubles: Vec<String>,
}

/// What proxies report of the requests to a ModelService.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traffic {
    /// The share of prompt tokens that came from caches, in percent.
    pub cached_percent: f64,
    /// The 90th percentile of the time to the first token, in milliseconds.
    pub ttft_ms_p90: f64,
}

/// A diagnosis of the router, which becomes a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// The condition's type, for example `CacheKnowledge`.
    pub kind: String,
    /// Whether it is as it should be.
    pub is_fine: bool,
    /// Why, in one word.
    pub reason: String,
    /// Why, in words, with what to do.
    pub message: String,
}

/// An object by its kind and name, in the namespace of the ModelService.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectRef {
    /// Its group and version.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

// === impl Observed ===

impl Observed {
    /// What is seen of a workload; `None`: it is not there.
    pub(crate) fn workload(&self, workload: &Workload) -> Option<&ObservedWorkload> {
        let Workload { api_version, kind, name } = workload.clone();
        self.workloads.get(&ObjectRef { api_version, kind, name })
    }
}
