//! What the router should know and do.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the router should know and do.
#[derive(Clone, Debug, KubeSchema, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!has(self.chatTemplate) || has(self.tokenizer)").message("chatTemplate: name the tokenizer as well, without which no text is compared").field_path(".chatTemplate"))]
pub struct Router {
    /// An entry of the chart's `controller.tokenizers`: the files of the model's tokenizer. With it, what engines report of their caches counts; without
    /// it, what is learned from responses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[^./][^/]*$"))]
    pub tokenizer: Option<String>,
    /// A file in `controller.tokenizers`, such as `templates/llama.jinja`: the chat template that the engines use in place of the model's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub chat_template: Option<String>,
    /// The share of the conversations that this service gets of a model that several services serve, relative to theirs. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub weight: Option<u32>,
    /// How long requests may wait in the proxy. Default: not for room; for an endpoint, with scaleToZero, as long as an engine may take to start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
}

/// How long requests may wait in the proxy, in seconds.
#[derive(Clone, Debug, JsonSchema, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hold {
    /// For room in the engines' caches. Not with roles prefill and decode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub room_seconds: Option<u32>,
    /// For an engine that is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub endpoint_seconds: Option<u32>,
    /// Tenants that get more than an equal share.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub tenants: Vec<Tenant>,
}

/// A tenant's share of the room.
#[derive(Clone, Debug, JsonSchema, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tenant {
    /// The tenant, as requests name it.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[^=,]+$"))]
    pub name: String,
    /// Its weight, relative to 1.
    #[schemars(range(min = 1, max = 1000))]
    pub weight: u32,
}
