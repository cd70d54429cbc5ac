//! What engine and role have alike: what is added to the containers that follow.
//!
//! Both have it flattened among their own fields.

use super::Env;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What is added to the engines' containers and pods.
#[derive(Clone, Debug, JsonSchema, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Additions {
    /// Further arguments, a role's after the engine's. One that Warmpath would set itself is left as it is written here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(min = 1, max = 8192)))]
    pub args: Vec<String>,
    /// Further environment variables, a role's after the engine's. They replace those of the same name that Warmpath would set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub env: Vec<Env>,
    /// A patch of the pod template, `metadata` and `spec`, a role's after the engine's: lists are merged by name, as `kubectl patch` does. The
    /// engine's container has the name `engine`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "patch_schema")]
    pub pod_template: Map<String, Value>,
}

/// Any fields: they are those of a pod template, which the API server checks when the workload is applied.
pub(super) fn patch_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}
