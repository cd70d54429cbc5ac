//! Where pods run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where pods run, beside what their hardware asks for.
#[derive(Clone, Debug, JsonSchema, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Placement {
    /// The pods' PriorityClass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// Whose identity the pods have. Default: the namespace's default one, without its token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,
    /// How the pods of a role are spread. Default: evenly over hosts and zones, where that is possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    pub spread: Option<Vec<Spread>>,
}

/// How the pods of a role are spread.
#[derive(Clone, Debug, JsonSchema, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spread {
    /// The nodes' label whose values they are spread over, for example `topology.kubernetes.io/zone`.
    #[schemars(length(min = 1, max = 316))]
    pub topology_key: String,
    /// By how many pods values may differ.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1024))]
    pub max_skew: i32,
    /// What happens to a pod that would make them differ more.
    #[serde(default)]
    pub when_unsatisfiable: WhenUnsatisfiable,
}

/// What happens to a pod that cannot be spread.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum WhenUnsatisfiable {
    /// It runs anyway.
    #[default]
    ScheduleAnyway,
    /// It waits.
    DoNotSchedule,
}

fn one() -> i32 {
    1
}

// === impl WhenUnsatisfiable ===

impl WhenUnsatisfiable {
    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ScheduleAnyway => "ScheduleAnyway",
            Self::DoNotSchedule => "DoNotSchedule",
        }
    }
}
