//! The kinds that are followed, and their names in the API.

use kube::api::ApiResource;

/// A kind of object. Where two groups have a kind, objects of the first listed take precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `InferencePool` of `inference.networking.k8s.io/v1`.
    InferencePool,
    /// `InferencePool` of `inference.networking.x-k8s.io/v1alpha2`, which the Gateway API Inference Extension had until 1.4.
    InferencePoolAlpha,
    /// `InferenceObjective` of `llm-d.ai/v1alpha2`.
    InferenceObjective,
    /// The same in `inference.networking.x-k8s.io/v1alpha2`, where it was before.
    InferenceObjectiveAlpha,
    /// `InferenceModelRewrite` of `llm-d.ai/v1alpha2`.
    InferenceModelRewrite,
    /// The same in `inference.networking.x-k8s.io/v1alpha2`, where it was before.
    InferenceModelRewriteAlpha,
    /// `Pod`.
    Pod,
    /// `ModelService` of `warmpath.dev/v1alpha1`, Warmpath's own.
    ModelService,
    /// `Deployment`.
    Deployment,
    /// `LeaderWorkerSet`.
    LeaderWorkerSet,
    /// `Service`.
    Service,
    /// `ConfigMap`.
    ConfigMap,
    /// `PodDisruptionBudget`.
    PodDisruptionBudget,
    /// `ResourceClaimTemplate`, from Kubernetes 1.34 on.
    ResourceClaimTemplate,
    /// An InferencePool that a ModelService made.
    OwnPool,
    /// A pod that a ModelService made, with what its status says of its containers.
    EnginePod,
}

// === impl Kind ===

impl Kind {
    /// All that describe pools.
    pub const OF_POOLS: [Self; 6] = [
        Self::InferencePool,
        Self::InferencePoolAlpha,
        Self::InferenceObjective,
        Self::InferenceObjectiveAlpha,
        Self::InferenceModelRewrite,
        Self::InferenceModelRewriteAlpha,
    ];

    /// Those whose definitions may be installed later.
    pub(super) const DEFINED: [Self; 10] = [
        Self::InferencePool,
        Self::InferencePoolAlpha,
        Self::InferenceObjective,
        Self::InferenceObjectiveAlpha,
        Self::InferenceModelRewrite,
        Self::InferenceModelRewriteAlpha,
        Self::ModelService,
        Self::LeaderWorkerSet,
        Self::ResourceClaimTemplate,
        Self::OwnPool,
    ];

    /// Those that a ModelService becomes.
    pub const OF_MODELS: [Self; 7] = [
        Self::Deployment,
        Self::LeaderWorkerSet,
        Self::Service,
        Self::ConfigMap,
        Self::PodDisruptionBudget,
        Self::ResourceClaimTemplate,
        Self::OwnPool,
    ];

    /// Its version, its kind, and its name in metrics, messages and roles: plural and group.
    fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::InferencePool | Self::OwnPool => {
                ("v1", "InferencePool", "inferencepools.inference.networking.k8s.io")
            }
            Self::InferencePoolAlpha => {
                ("v1alpha2", "InferencePool", "inferencepools.inference.networking.x-k8s.io")
            }
            Self::InferenceObjective => ("v1alpha2", "InferenceObjective", "inferenceobjectives.llm-d.ai"),
            Self::InferenceObjectiveAlpha => {
                ("v1alpha2", "InferenceObjective", "inferenceobjectives.inference.networking.x-k8s.io")
            }
            Self::InferenceModelRewrite => {
                ("v1alpha2", "InferenceModelRewrite", "inferencemodelrewrites.llm-d.ai")
            }
            Self::InferenceModelRewriteAlpha => {
                ("v1alpha2", "InferenceModelRewrite", "inferencemodelrewrites.inference.networking.x-k8s.io")
            }
            Self::Pod | Self::EnginePod => ("v1", "Pod", "pods"),
            Self::ModelService => ("v1alpha1", "ModelService", "modelservices.warmpath.dev"),
            Self::Deployment => ("v1", "Deployment", "deployments.apps"),
            Self::LeaderWorkerSet => ("v1", "LeaderWorkerSet", "leaderworkersets.leaderworkerset.x-k8s.io"),
            Self::Service => ("v1", "Service", "services"),
            Self::ConfigMap => ("v1", "ConfigMap", "configmaps"),
            Self::PodDisruptionBudget => ("v1", "PodDisruptionBudget", "poddisruptionbudgets.policy"),
            Self::ResourceClaimTemplate => {
                ("v1", "ResourceClaimTemplate", "resourceclaimtemplates.resource.k8s.io")
            }
        }
    }

    /// Whether its objects are kept as they are, because manifests are compared with them.
    pub(super) fn is_kept_whole(self) -> bool {
        self == Self::ModelService || Self::OF_MODELS.contains(&self)
    }

    /// Its name in metrics, messages and roles: `inferencepools.inference.networking.k8s.io`.
    pub fn label(self) -> &'static str {
        let (_, _, label) = self.names();
        label
    }

    /// Its plural and its group; kinds of the core have none.
    fn plural_and_group(self) -> (&'static str, &'static str) {
        self.label().split_once('.').unwrap_or((self.label(), ""))
    }

    /// Its group.
    pub fn group(self) -> &'static str {
        let (_, group) = self.plural_and_group();
        group
    }

    /// The resource, in the client's form.
    pub fn resource(self) -> ApiResource {
        let (version, kind, _) = self.names();
        let (plural, group) = self.plural_and_group();
        let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version,
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        }
    }
}
