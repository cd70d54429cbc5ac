//! The ModelService resource, and the objects that follow from one.
//!
//! ```text
//!   ModelService ─► api (types, schema, CEL) ─┐
//!   hardware (presets as data) ───────────────┼─► plan (pure) ─► manifests with reasons, status, events
//!   what the cluster offers and shows ────────┘                      │
//!                                                                    └─► the controller applies them
//! ```
//!
//! There is no client, clock or randomness here: whoever calls passes what it has seen. The same function therefore serves the
//! controller, `warmpath plan` without a cluster, and tests that compare whole manifests. A Helm chart with templates per engine and
//! vendor would be the obvious way; but it cannot refuse what no engine can do, and cannot say why it makes what it makes.

pub mod adapters;
pub mod api;
mod engines;
mod hardware;
mod json;
pub mod plan;
mod problems;
mod shape;
pub mod text;
pub mod yaml;
