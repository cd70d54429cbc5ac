//! The harness against a real Envoy, Envoy's own behaviour that the design rests on, and the built filter in it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the helpers of tests fail the test, as the tests themselves do"
)]

mod agreement;
mod backend;
mod bodies;
mod boot;
mod eds;
mod endpoints;
mod filter;
mod held;
mod knowledge;
mod legs;
mod override_host;
mod picker;
mod refusal;
mod shipped;
mod stack;
mod stub;
