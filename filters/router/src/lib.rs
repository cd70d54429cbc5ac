//! Warmpath's HTTP filter: the shell around [`warmpath_core::router::Router`] inside stock Envoy.
//!
//! ```text
//!             ┌───────────────── one VM (one Envoy worker) ─────────────────┐
//!   request ─►│ http ──┐                                                    │
//!      tick ─►│ root ──┴─► Input ─► Router (warmpath-core) ─► Output ─► vm ─│─► headers, replies
//!   message ─►│ root ──┘                 ▲▼                       │         │
//!             │                     shared data                  host       │═► controller (gRPC)
//!             └─────────────────────────────────────────────────────────────┘
//! ```
//!
//! Callbacks become inputs, and outputs become hostcalls; nothing is decided here. `host.rs` alone names hostcalls.
//! Nothing here may panic: a trap takes every request of its worker with it.

#![expect(missing_docs, reason = "the SDK's main macro exports a function that cannot carry a comment")]

#[cfg(feature = "fault-injection")]
mod fault;
mod host;
mod http;
mod metrics;
mod root;
mod vm;

use proxy_wasm::types::LogLevel;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|id| Box::new(root::Root::new(id)));
}}
