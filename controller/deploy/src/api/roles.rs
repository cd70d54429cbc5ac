//! Roles: what the replicas do.

use super::{Additions, Hardware, KvCache, Parallelism};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the replicas do: `serve`, or `prefill` and `decode`.
#[derive(Clone, Debug, KubeSchema, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.serve) != (has(self.prefill) || has(self.decode))").message("name either serve, or prefill and decode"),
    validation = Rule::new("has(self.prefill) == has(self.decode)").message("name prefill and decode together: neither can serve a request alone")
)]
pub struct Roles {
    /// Engines that compute prompts and generate responses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serve: Option<Role>,
    /// Engines that compute the prompts of split requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefill: Option<Role>,
    /// Engines that generate the responses of split requests, and serve the requests that are not split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode: Option<Role>,
}

/// The engines of a role.
#[derive(Clone, Debug, JsonSchema, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Role {
    /// How many.
    #[serde(default)]
    pub replicas: Replicas,
    /// What each pod of it runs on.
    pub hardware: Hardware,
    /// How a replica divides the model.
    #[serde(default)]
    pub parallelism: Parallelism,
    /// The tiers of its KV cache, in place of the service's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_cache: Option<KvCache>,
    /// Its image, in place of the engine's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// What is added to its containers and pods.
    #[serde(flatten)]
    pub additions: Additions,
}

/// How many replicas. A replica of several nodes counts as one.
#[derive(Clone, Debug, KubeSchema, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!has(self.max) || self.min <= self.max").message("max must be at least min").field_path(".max"))]
pub struct Replicas {
    /// The least. Without autoscaling, the number of replicas.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1024))]
    pub min: i32,
    /// The most that a scaler may ask for. Default: `min`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub max: Option<i32>,
}

/// A role by its name.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoleName {
    /// Both legs.
    Serve,
    /// Prefill legs.
    Prefill,
    /// Decode legs, and whole requests.
    Decode,
}

fn one() -> i32 {
    1
}

// === impl Replicas ===

impl Default for Replicas {
    fn default() -> Self {
        Self { min: one(), max: None }
    }
}

// === impl Roles ===

impl Roles {
    /// Those that are there, in this order.
    pub fn iter(&self) -> impl Iterator<Item = (RoleName, &Role)> {
        let all = [
            (RoleName::Serve, &self.serve),
            (RoleName::Prefill, &self.prefill),
            (RoleName::Decode, &self.decode),
        ];
        all.into_iter().filter_map(|(name, role)| Some((name, role.as_ref()?)))
    }
}

// === impl RoleName ===

impl RoleName {
    /// As it is written in a ModelService, in labels and in names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Prefill => "prefill",
            Self::Decode => "decode",
        }
    }
}

impl std::fmt::Display for RoleName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
