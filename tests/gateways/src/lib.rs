//! The Helm chart and the manifests for other gateways, tested without a cluster.
//!
//! ```text
//!   controller/chart ── helm template ──► Manifests ──► values and objects are compared
//!                                             │
//!                                             └─► Envoy's configuration ──► a real Envoy
//! ```

pub mod chart;
mod filter;

pub use self::chart::{Chart, ChartError, Manifests};
pub use self::filter::{NoFilter, built_filter};
