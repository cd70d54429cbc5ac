//! What routing costs: plain Envoy, Envoy with the filter, and other routers in front of the same engines, measured
//! in turn on one machine in one run.
//!
//! ```text
//!  load ─► target (Envoy plain | buffer | warmpath + controller, sglang-router, vllm-router, smg) ─► engines
//!   │        │ process::Meter: processor time and memory of everything on the request's path
//!   │        ▼
//!   └─► figure::{cost, chunk, burst}        decision (core, native)   view_memory (.wasm in the test host)
//!            │                              feed, wasm (.wasm in a real Envoy)
//!            └─► report: sections with goals ─► warmpath-report: tables, report.json, report.html
//! ```
//!
//! Engines, controller and targets run in processes of their own, so that this one, which makes the load, takes
//! nothing into their account. Repetitions of different targets take turns, and are compared with their neighbours in
//! time: a slow minute of the machine hits all of them.

pub mod args;
pub mod figure;
pub mod load;
pub mod plan;
pub mod process;
pub(crate) mod progress;
pub mod report;
pub mod run;
pub mod target;
