//! A real Kubernetes control plane in tests, and nodes whose pods are processes.
//!
//! ```text
//!  harness::main ──► isolation (Linux namespaces: network, mounts, processes; all of it ends with the test process)
//!       │
//!       ├─► control_plane   the released etcd, kube-apiserver, kube-controller-manager, kube-scheduler
//!       ├─► kubelet         nodes, which run pods' commands as processes, each pod with its own address
//!       ├─► service         ClusterIPs and names of Services, in place of kube-proxy and DNS
//!       └─► tests           each in its own Kubernetes namespace
//! ```
//!
//! There is no fake API server, because the tests are for what a fake would get wrong: admission, RBAC, watches that end, what
//! happens to a pod whose node is gone. The kubelet is our own, because a real one needs a container engine; as far as users can
//! see, it treats pods as a real one does.
#![allow(clippy::print_stderr, reason = "the test harness shows what a failing test prints")]

mod cluster;
mod command;
pub mod control_plane;
pub mod crds;
pub mod harness;
mod isolation;
pub mod kubelet;
mod lifetimes;
pub mod manifests;
mod network;
mod process;
mod release;
mod service;
mod tools;
mod traffic;
mod vllm;
mod wait;

pub use self::cluster::{Cluster, Namespace, is_ready};
pub use self::command::{Finished, run};
pub use self::control_plane::Call;
pub use self::isolation::enter as enter_isolation;
pub use self::kubelet::{Image, Images, Node};
pub use self::lifetimes::{Delays, Lifetimes};
pub use self::process::Log;
pub use self::release::{Release, engine_address, pod_address};
pub use self::tools::{Tool, ToolError};
pub use self::traffic::{Span, Tally, Traffic};
pub use self::wait::{DEADLINE, until};
