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
    /// Images of the installation in place of the presets', by the preset's image, for example in a registry of one's own.
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
