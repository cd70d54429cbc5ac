//! Names and labels of what a ModelService becomes.

/// The label with the name of the ModelService that made an object.
pub const SERVICE_LABEL: &str = "warmpath.dev/model-service";
/// The label with the role of a workload and its pods.
pub const ROLE_LABEL: &str = "warmpath.dev/role";
/// The label of pods that take requests: of a replica of several nodes, some pods only compute.
pub const ENDPOINT_LABEL: &str = "warmpath.dev/endpoint";
/// The label by which the router learns what a pod does.
pub const LLM_D_ROLE_LABEL: &str = "llm-d.ai/role";
