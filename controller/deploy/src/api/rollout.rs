//! How pods start, are replaced, and leave.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How pods start, are replaced, and leave.
#[derive(Clone, Debug, JsonSchema, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rollout {
    /// Replicas that a rollout may add. They need devices of their own: where there are none to spare, set it to 0 and `maxUnavailable` to 1.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1024))]
    pub max_surge: i32,
    /// Replicas that a rollout may take away before their successors are ready.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1024))]
    pub max_unavailable: i32,
    /// The longest time that an engine may take to load its model, in seconds.
    #[serde(default = "startup")]
    #[schemars(range(min = 10, max = 86400))]
    pub startup_seconds: i32,
    /// The longest time that a pod which leaves has for the requests that it still serves, in seconds. It gets no new ones meanwhile.
    #[serde(default = "drain")]
    #[schemars(range(min = 0, max = 86400))]
    pub drain_seconds: i32,
}

fn one() -> i32 {
    1
}

/// Weights of several hundred gigabytes over a slow network.
fn startup() -> i32 {
    3_600
}

/// A long response, and as much again.
fn drain() -> i32 {
    600
}

// === impl Rollout ===

impl Default for Rollout {
    fn default() -> Self {
        Self { max_surge: one(), max_unavailable: 0, startup_seconds: startup(), drain_seconds: drain() }
    }
}
