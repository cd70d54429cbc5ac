//! `ModelService` (`warmpath.dev/v1alpha1`): a model, its engine, its roles, and what engines and router need to know.
//!
//! The types are the schema: `crd()` derives it, the chart ships it, and a test fails when the two differ. What a schema can refuse at
//! admission, it refuses (types, bounds, CEL rules); the rest is refused by the plan, with every error at once.
//!
//! Where one of several things must be stated, the type has an optional field for each, because the API server accepts no other
//! union in a structural schema.

#![allow(
    unreachable_pub,
    reason = "the derive of rules puts copies of the types into functions, where nothing is reachable"
)]

mod adapters;
mod additions;
mod amount;
mod autoscaling;
mod cache;
mod definition;
mod engine;
mod env;
mod hardware;
mod model;
mod parallelism;
mod placement;
mod roles;
mod rollout;
mod router;
mod service;
mod status;
mod transfer;
mod volume;

pub use adapters::{Adapter, AdapterLoad, Adapters};
pub use additions::Additions;
pub use amount::Amount;
pub use autoscaling::{Autoscaling, Objectives};
pub use cache::{CpuTier, GpuTier, KvCache, MooncakeStore, NvmeTier, SharedStore};
pub use definition::crd;
pub use engine::{Engine, EngineKind, PullPolicy};
pub use env::Env;
pub use hardware::{Claim, Gpu, GpuType, Hardware, HostRequests, Resources, Toleration, Vendor};
pub use model::{ChatTemplate, ClaimSource, HubSource, ImageSource, KeyRef, Model, Source};
pub use parallelism::Parallelism;
pub use placement::{Placement, Spread, WhenUnsatisfiable};
pub use roles::{Replicas, Role, RoleName, Roles};
pub use rollout::Rollout;
pub use router::{Hold, Router, Tenant};
pub use service::{ModelService, ModelServiceSpec};
pub use status::{Condition, ModelServiceStatus, Phase, RoleStatus, Workload};
pub use transfer::{NixlBackend, Rdma, Transfer, TransferProtocol};
pub use volume::{ClaimVolume, EphemeralVolume, HostPathVolume, Volume};

/// The API group of everything that Warmpath owns.
pub const GROUP: &str = "warmpath.dev";
