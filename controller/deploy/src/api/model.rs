//! The model and the source of its weights.

use super::Volume;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A model, and where its weights come from.
#[derive(Clone, Debug, KubeSchema, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("!has(self.cache) || has(self.source) == false || has(self.source.hub)").message("cache: only weights from a hub are cached; remove it").field_path(".cache"))]
pub struct Model {
    /// Its name, for example `meta-llama/Llama-3.1-8B-Instruct`. Requests use it unless `servedNames` lists others.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Where the weights come from. Default: the repository on Hugging Face that has the model's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The names that requests use. Default: the model's name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    pub served_names: Vec<String>,
    /// The longest prompt with its response, in tokens. Default: what the model's configuration states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16_777_216))]
    pub context_length: Option<u32>,
    /// A volume that keeps what is downloaded, so that only the first pod on it has to wait. Default: each pod downloads for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Volume>,
    /// A chat template that replaces the model's own. Name the same one for the router in `router.chatTemplate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<ChatTemplate>,
}

/// Where weights come from: exactly one of these.
#[derive(Clone, Debug, KubeSchema, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("[has(self.hub), has(self.claim), has(self.image)].filter(x, x).size() == 1").message("name exactly one of hub, claim and image"))]
pub struct Source {
    /// A repository on Hugging Face.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<HubSource>,
    /// A directory on a PersistentVolumeClaim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<ClaimSource>,
    /// An OCI image whose files are the model's, mounted as a volume. Kubernetes 1.35 or newer has such volumes by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageSource>,
}

/// A repository on Hugging Face, or on a mirror that `HF_ENDPOINT` in `engine.env` names.
#[derive(Clone, Debug, JsonSchema, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HubSource {
    /// The repository. Default: the model's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub repository: Option<String>,
    /// A branch, tag or commit. Name a commit to have all replicas, today's and tomorrow's, load the same weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub revision: Option<String>,
    /// The Secret with the access token for gated repositories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<KeyRef>,
}

/// A directory on a PersistentVolumeClaim, mounted read-only.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimSource {
    /// The claim's name, in the namespace of the ModelService. Several pods need ReadOnlyMany or ReadWriteMany.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The model's directory in it. Default: its root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub path: Option<String>,
}

/// An OCI image with a model's files.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageSource {
    /// The image, for example `registry.example.com/models/llama-3.1-8b:1`.
    #[schemars(length(min = 1, max = 512))]
    pub reference: String,
    /// The model's directory in it. Default: its root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub path: Option<String>,
}

/// A key of a Secret or ConfigMap.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyRef {
    /// The object's name, in the namespace of the ModelService.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A chat template that replaces the model's own.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChatTemplate {
    /// The ConfigMap that has it.
    pub config_map: KeyRef,
}
