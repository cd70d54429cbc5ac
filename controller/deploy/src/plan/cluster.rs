//! What the API server and the installation offer.

use std::collections::{BTreeMap, BTreeSet};

/// What the API server and the installation offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Whether the API server has LeaderWorkerSets (`leaderworkerset.x-k8s.io/v1`).
    pub has_leader_worker_sets: bool,
    /// Whether the API server has ResourceClaimTemplates (`resource.k8s.io/v1`, from Kubernetes 1.34 on).
    pub has_resource_claims: bool,
    /// What the API server has of InferencePools.
    pub inference_pools: InferencePools,
    /// The controller's Service, which InferencePools name as their picker where they must name one.
    pub picker: Option<Picker>,
    /// The cluster's DNS domain.
    pub domain: String,
    /// Images of the installation in place of the presets', by the preset's image, or by its repository: it then keeps its tag. For
    /// example in a registry of one's own.
    pub images: BTreeMap<String, String>,
    /// The tokenizers that the controller has, by the names of their directories; `None`: not known.
    pub tokenizers: Option<BTreeSet<String>>,
}

/// What the API server has of InferencePools (`inference.networking.k8s.io/v1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InferencePools {
    /// It does not know them.
    Missing,
    /// They must name a picker, as in the Gateway API Inference Extension until 1.5.
    WithPicker,
    /// They need not name one.
    WithoutPicker,
}

/// A Service that speaks the picker protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picker {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its port.
    pub port: u16,
}

// === impl Cluster ===

impl Cluster {
    /// The installation's image in place of a preset's; `None`: it has none.
    pub(super) fn image_for(&self, preset: &str) -> Option<String> {
        if let Some(image) = self.images.get(preset) {
            return Some(image.clone());
        }
        // A colon before a slash belongs to the registry's port.
        let (repository, tag) =
            preset.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).unwrap_or((preset, ""));
        let image = self.images.get(repository)?;
        Some(if tag.is_empty() { image.clone() } else { format!("{image}:{tag}") })
    }
}

impl Default for Cluster {
    /// A cluster that has everything, as `warmpath plan` assumes without one.
    fn default() -> Self {
        Self {
            has_leader_worker_sets: true,
            has_resource_claims: true,
            inference_pools: InferencePools::WithoutPicker,
            picker: None,
            domain: "cluster.local".to_owned(),
            images: BTreeMap::new(),
            tokenizers: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Cluster;
    use std::collections::BTreeMap;

    #[test]
    fn an_image_in_a_registry_of_ones_own_keeps_its_tag_over_releases() {
        let images = [
            ("docker.io/vllm/vllm-openai", "registry:5000/vllm"),
            ("docker.io/lmsysorg/sglang:v1", "registry:5000/sglang:mine"),
        ];
        let images = images.map(|(preset, own)| (preset.to_owned(), own.to_owned()));
        let cluster = Cluster { images: BTreeMap::from(images), ..Cluster::default() };
        for (preset, expected) in [
            ("docker.io/vllm/vllm-openai:v0.32.0", Some("registry:5000/vllm:v0.32.0")),
            ("docker.io/vllm/vllm-openai:v0.33.0", Some("registry:5000/vllm:v0.33.0")),
            ("docker.io/vllm/vllm-openai-rocm:v0.32.0", None),
            ("docker.io/lmsysorg/sglang:v1", Some("registry:5000/sglang:mine")),
            ("docker.io/lmsysorg/sglang:v2", None),
            ("registry:5000/vllm", None),
        ] {
            assert_eq!(cluster.image_for(preset).as_deref(), expected, "{preset}");
        }
    }
}
