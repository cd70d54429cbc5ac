//! The harness against a real Envoy, and Envoy's own behaviour that the design rests on: no `.wasm` of ours here.

#![allow(clippy::unwrap_used, reason = "the helpers of tests fail the test, as the tests themselves do")]

mod agreement;
mod backend;
mod bodies;
mod boot;
mod endpoints;
mod override_host;
mod refusal;
mod shipped;
mod stub;
