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

const GROUP: &str = "inference.networking.k8s.io";
const GROUP_ALPHA: &str = "inference.networking.x-k8s.io";
const GROUP_LLM_D: &str = "llm-d.ai";
const GROUP_OWN: &str = "warmpath.dev";
const GROUP_LWS: &str = "leaderworkerset.x-k8s.io";

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

    /// Its group, version and kind.
    pub fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::InferencePool | Self::OwnPool => (GROUP, "v1", "InferencePool"),
            Self::InferencePoolAlpha => (GROUP_ALPHA, "v1alpha2", "InferencePool"),
            Self::InferenceObjective => (GROUP_LLM_D, "v1alpha2", "InferenceObjective"),
            Self::InferenceObjectiveAlpha => (GROUP_ALPHA, "v1alpha2", "InferenceObjective"),
            Self::InferenceModelRewrite => (GROUP_LLM_D, "v1alpha2", "InferenceModelRewrite"),
            Self::InferenceModelRewriteAlpha => (GROUP_ALPHA, "v1alpha2", "InferenceModelRewrite"),
            Self::Pod | Self::EnginePod => ("", "v1", "Pod"),
            Self::ModelService => (GROUP_OWN, "v1alpha1", "ModelService"),
            Self::Deployment => ("apps", "v1", "Deployment"),
            Self::LeaderWorkerSet => (GROUP_LWS, "v1", "LeaderWorkerSet"),
            Self::Service => ("", "v1", "Service"),
            Self::ConfigMap => ("", "v1", "ConfigMap"),
            Self::PodDisruptionBudget => ("policy", "v1", "PodDisruptionBudget"),
            Self::ResourceClaimTemplate => ("resource.k8s.io", "v1", "ResourceClaimTemplate"),
        }
    }

    /// Whether its objects are kept as they are, because manifests are compared with them.
    pub(super) fn is_kept_whole(self) -> bool {
        self == Self::ModelService || Self::OF_MODELS.contains(&self)
    }

    /// Its name in metrics, messages and roles: `inferencepools.inference.networking.k8s.io`.
    pub fn label(self) -> &'static str {
        match self {
            Self::InferencePool | Self::OwnPool => "inferencepools.inference.networking.k8s.io",
            Self::InferencePoolAlpha => "inferencepools.inference.networking.x-k8s.io",
            Self::InferenceObjective => "inferenceobjectives.llm-d.ai",
            Self::InferenceObjectiveAlpha => "inferenceobjectives.inference.networking.x-k8s.io",
            Self::InferenceModelRewrite => "inferencemodelrewrites.llm-d.ai",
            Self::InferenceModelRewriteAlpha => "inferencemodelrewrites.inference.networking.x-k8s.io",
            Self::Pod | Self::EnginePod => "pods",
            Self::ModelService => "modelservices.warmpath.dev",
            Self::Deployment => "deployments.apps",
            Self::LeaderWorkerSet => "leaderworkersets.leaderworkerset.x-k8s.io",
            Self::Service => "services",
            Self::ConfigMap => "configmaps",
            Self::PodDisruptionBudget => "poddisruptionbudgets.policy",
            Self::ResourceClaimTemplate => "resourceclaimtemplates.resource.k8s.io",
        }
    }

    /// The resource, in the client's form.
    pub fn resource(self) -> ApiResource {
        let (group, version, kind) = self.names();
        let plural = self.label().split('.').next().unwrap_or_default();
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
