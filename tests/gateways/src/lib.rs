//! The Helm chart and the manifests for other gateways, tested without a cluster.
//!
//! ```text
//!   controller/chart ── helm template ──► chart::Manifests ──► values and objects are compared
//!                                             │                       plain: the files of istio/ and envoy/envoy-gateway/
//!                    captured::Captured       ▼
//!   fixtures ──► what a gateway runs ──► istio::apply, envoy_gateway::apply ──► run::write ──► a real Envoy
//! ```

pub mod captured;
pub mod chart;
pub mod envoy_gateway;
mod filter;
pub mod istio;
pub mod plain;
pub mod run;

pub use self::captured::Captured;
pub use self::chart::{Chart, ChartError, Manifests};
pub use self::filter::{NoFilter, built_filter};
