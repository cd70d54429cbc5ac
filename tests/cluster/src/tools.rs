//! Finds the programs of Kubernetes: `install-control-plane` puts links to them under the target folder.
//!
//! Tests neither download nor build: a test run that needs the network fails for reasons that are not the code's.

use std::path::PathBuf;
use warmpath_envoy::target_folder;

/// A program of the control plane, or one that users drive it with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// The store.
    Etcd,
    /// The API server.
    ApiServer,
    /// The controllers of Deployments, EndpointSlices, service accounts, lost nodes.
    ControllerManager,
    /// The scheduler.
    Scheduler,
    /// The controller of LeaderWorkerSets, with its webhooks.
    LeaderWorkerSets,
    /// The users' command.
    Kubectl,
    /// The installer of charts.
    Helm,
}

/// The tools were not installed.
#[derive(Debug, thiserror::Error)]
#[error("no {name} at {path}: run tests/cluster/install-control-plane (a cold build takes some minutes)")]
pub struct ToolError {
    name: &'static str,
    path: PathBuf,
}

// === impl Tool ===

impl Tool {
    const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::LeaderWorkerSets => "lws",
            Self::Kubectl => "kubectl",
            Self::Helm => "helm",
        }
    }

    /// The program.
    pub fn path(self) -> Result<PathBuf, ToolError> {
        let path = folder().join(self.name());
        if path.is_file() { Ok(path) } else { Err(ToolError { name: self.name(), path }) }
    }
}

/// The place that `install-control-plane` writes to.
pub(crate) fn folder() -> PathBuf {
    target_folder().join("tools/control-plane")
}
