//! A real Kubernetes control plane in tests, and nodes whose pods are processes.
//!
//! ```text
//!  harness::main ──► isolation (namespaces of Linux: network, mounts, processes; all of it ends with the test process)
//!       │
//!       ├─► control_plane   etcd, kube-apiserver, kube-controller-manager, kube-scheduler, as they are released
//!       ├─► kubelet         one Node object each: pods' commands as processes with an address of their own
//!       ├─► service         ClusterIPs and names of Services, which nodes have from kube-proxy and DNS
//!       └─► tests           each with a Kubernetes namespace of its own
//! ```
//!
//! There is no container engine, and no fake API server: what a fake would get wrong (admission, RBAC, watches that end,
//! what a controller does to a pod whose node is gone) is what the tests are for. The kubelet is ours because a real one
//! needs a container engine; it does to pods what users can see of a real one.
#![allow(clippy::print_stderr, reason = "the test harness shows what a failing test prints")]

mod cluster;
mod command;
pub mod control_plane;
pub mod crds;
pub mod harness;
mod isolation;
pub mod kubelet;
mod network;
mod process;
mod release;
mod service;
mod tools;
mod traffic;
mod wait;

pub use self::cluster::{Cluster, Namespace, is_ready};
pub use self::command::{Finished, run};
pub use self::isolation::enter as enter_isolation;
pub use self::kubelet::{Image, Images, Node};
pub use self::process::Log;
pub use self::release::{Release, pod_address};
pub use self::tools::{Tool, ToolError};
pub use self::traffic::{Tally, Traffic};
pub use self::wait::{DEADLINE, until};
