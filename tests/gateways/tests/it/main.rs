//! The chart and the manifests, without a cluster.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the helpers of tests fail the test, as the tests themselves do"
)]

mod chart;
mod envoy_gateway;
mod gateway;
mod istio;
mod plain;
