//! Pools and pods from the Kubernetes API.
//!
//! ```text
//!   API server ═ one watch per kind, namespace and selector ═► follow ─► facts (what is there)
//!                                                                          │
//!                          run    ◄── Followed (pools, problems) ◄── plan (pure)
//! ```
//!
//! Watches only, no polling, except for kinds that the API server does not know (`discovery`). Pods are watched by the pools'
//! selectors, which the server applies, so that a controller in a large cluster holds only what it routes to; those of all
//! ModelServices of a namespace come over one watch. EndpointSlices would be the obvious source, but a pool need not have a
//! Service, and a slice lacks the pod's labels and lags by the endpoint controller's queue.
//!
//! While the API server is away, everything continues with what is known.

mod annotations;
mod cluster;
mod discovery;
mod engine;
mod facts;
mod follow;
mod hold;
mod kinds;
mod list;
mod log;
mod plan;
mod pod;
mod problem;
mod watches;

pub use cluster::{Followed, WatchState, client, start};
pub(crate) use engine::DELETION_COST_ANNOTATION;
pub use engine::EnginePod;
pub use facts::{Described, Facts, Item, Revision, Source, SourceState, Update};
pub use kinds::Kind;
pub use list::list;
pub use plan::{Plan, plan};
pub use pod::Pod;
pub use problem::Problem;
pub(crate) use watches::Watches;

use thiserror::Error;

/// Why the cluster cannot be followed.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// There is neither a service account nor a kubeconfig.
    #[error("cannot find the cluster: run in a pod with a service account, or set KUBECONFIG")]
    Config(#[source] Box<kube::config::InferConfigError>),
    /// The configuration is unusable.
    #[error("cannot use the cluster's configuration")]
    Client(#[source] Box<kube::Error>),
}
