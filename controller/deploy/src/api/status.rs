//! The status: how the service does, in words.

use super::RoleName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the service does.
#[derive(Clone, Debug, JsonSchema, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelServiceStatus {
    /// The generation of the specification that the rest of the status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The state in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// What it waits for, or what is wrong, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Replicas that are ready, of those that are wanted, for each role: `prefill 2/2, decode 3/4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
    /// The share of prompt tokens that came from caches: `63%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached: Option<String>,
    /// The 90th percentile of the time to the first token: `420ms`.
    #[serde(default, rename = "ttftP90", skip_serializing_if = "Option::is_none")]
    pub ttft_p90: Option<String>,
    /// The replicas of each role.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub roles: Vec<RoleStatus>,
    /// The InferencePool that routes to it, and the Service with all of its engines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// What is the case: Ready, Progressing, Degraded, Valid, and the router's own diagnoses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// The state in one word.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// The specification cannot be carried out: nothing is changed until it can.
    Invalid,
    /// Nothing is ready yet.
    Pending,
    /// Something is ready, and something else is starting or being replaced.
    Progressing,
    /// Everything is as it should be.
    Ready,
    /// Something does not come up, or does not work as it should.
    Degraded,
    /// No replica is wanted at present.
    Idle,
}

/// The replicas of a role.
#[derive(Clone, Debug, JsonSchema, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleStatus {
    /// The role.
    pub name: RoleName,
    /// The workload with its replicas, which a scaler may name as its target.
    pub workload: Workload,
    /// Replicas that are wanted.
    pub wanted: i32,
    /// Replicas that are ready.
    pub ready: i32,
    /// Replicas that have the current pod template.
    pub updated: i32,
    /// What it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A workload.
#[derive(Clone, Debug, JsonSchema, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Its group and version.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// What is the case, and since when.
#[derive(Clone, Debug, JsonSchema, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// The generation of the specification that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Since when it has this status, as RFC 3339 writes times.
    #[schemars(extend("format" = "date-time"))]
    pub last_transition_time: String,
    /// Why, in one word.
    pub reason: String,
    /// Why, in words.
    pub message: String,
}

// === impl Phase ===

impl Phase {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "Invalid",
            Self::Pending => "Pending",
            Self::Progressing => "Progressing",
            Self::Ready => "Ready",
            Self::Degraded => "Degraded",
            Self::Idle => "Idle",
        }
    }
}

// === impl ModelServiceStatus ===

impl ModelServiceStatus {
    /// Whether each role has what it should have.
    pub(crate) fn is_settled(&self) -> bool {
        matches!(self.phase, Some(Phase::Ready | Phase::Idle))
            && self.roles.iter().all(|role| role.message.is_none())
    }
}
