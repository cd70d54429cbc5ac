//! Who sets the number of replicas, and what it should achieve.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who sets the number of replicas.
#[derive(Clone, Debug, JsonSchema, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Autoscaling {
    /// Whether Warmpath scales each role between `replicas.min` and `replicas.max`.
    #[serde(default)]
    pub enabled: bool,
    /// Whether all roles may go to no replica together when nothing is requested. Requests then wait in the proxy until one has started.
    #[serde(default)]
    pub scale_to_zero: bool,
    /// For how long nothing must have been requested before it does, in seconds. Default: 600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 604_800))]
    pub idle_seconds: Option<u32>,
    /// What becomes of the last engines when all roles go to zero, with vLLM: at level 1 they sleep with their weights in the host's
    /// memory, at level 2 without weights, and wake within seconds. Without it they leave, and new ones start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2))]
    pub sleep_level: Option<u8>,
    /// Whether another scaler (HPA, KEDA) sets the replicas of the workloads: Warmpath leaves them alone.
    #[serde(default)]
    pub external: bool,
}

/// What the service should achieve, for the scaler.
#[derive(Clone, Debug, JsonSchema, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Objectives {
    /// The time to the first token that nine of ten requests should have, in milliseconds. Default: 2000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3_600_000))]
    pub ttft_milliseconds: Option<u32>,
    /// The time between tokens that nine of ten requests should have, in milliseconds. Default: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 60_000))]
    pub inter_token_milliseconds: Option<u32>,
}
