//! Nodes of the cluster, whose pods are processes of this machine.
//!
//! ```text
//!  Node (its object, its lease) ── pods bound to it ─► pod ─► container ─► a process in namespaces of its own
//!                                                       │        └─ probe: ready, alive
//!                                                       └─ status: what is published
//! ```
//!
//! What users can see of a real kubelet happens here as well: volumes that are exchanged whole, environment and downward
//! API, init containers, probes, preStop and the grace of a deletion, restarts after a pause that grows, the end of a pod
//! by a last deletion. What needs a container engine does not: images are a table of local programs, users and limits are
//! not enforced, and `kubectl logs` and `exec` find nothing.

mod addresses;
mod container;
mod env;
mod image;
mod inside;
mod lookup;
mod node;
mod pod;
mod probe;
mod root;
mod status;
mod volumes;

pub use self::image::{Image, Images};
pub use self::node::Node;
pub(crate) use self::node::Setting;
pub(crate) use self::root::Mount;
