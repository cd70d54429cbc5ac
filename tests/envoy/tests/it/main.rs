//! The harness against a real Envoy, and Envoy's own behaviour that the design rests on: no `.wasm` of ours here.

#![allow(missing_docs, reason = "a test's name says what it shows")]

mod agreement;
mod backend;
mod bodies;
mod boot;
mod endpoints;
mod override_host;
mod refusal;
mod shipped;
mod stub;
