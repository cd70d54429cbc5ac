//! Nodes of the cluster, whose pods are processes of this machine.
//!
//! ```text
//!  Node (its object, its lease) ── pods bound to it ─► pod ─► container ─► a process in namespaces of its own
//!                                                       │        └─ probe: ready, alive
//!                                                       └─ status: what is published
//! ```
//!
//! Behaves as a real kubelet does, as far as users can see: volumes that are swapped as a whole, environment and downward API,
//! init containers, probes, preStop and the grace period of a deletion, restarts with a growing back-off, and the final deletion
//! of a pod. What needs a container engine is missing: images are a table of local programs, users and limits are not enforced,
//! and `kubectl logs` and `exec` do not work; `Namespace` has equals of both.

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
pub(crate) use self::inside::exec;
pub use self::node::Node;
pub(crate) use self::node::Setting;
pub(crate) use self::root::Mount;
