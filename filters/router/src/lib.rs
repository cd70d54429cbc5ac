//! Warmpath's HTTP filter: chooses the endpoint of each request, inside stock Envoy.
//!
//! ```text
//!             ┌────────────────────────── one VM (one Envoy worker) ──────────────────────────┐
//!  request ──►│ http ─► route (prompt, pick: warmpath-core) ─► x-gateway-destination-endpoint │──► engine
//!             │            │ books                  ▲ reads                                   │
//!             │            ▼                        │                                         │
//!             │         proxy: view, ledger ◄── shared (log in shared data) ◄──► other VMs    │
//!             │            ▲                                                                  │
//!             │          root: tick ─► feed (in the VM that holds the lease) ◄═ gRPC ═► controller
//!             └───────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! All decisions are the core's; this crate moves bytes between the core and Envoy. `host.rs` alone names
//! hostcalls. Nothing here may panic: a trap takes every request of its worker with it.

#![expect(missing_docs, reason = "the SDK's main macro exports a function that cannot carry a comment")]

mod feed;
mod flight;
mod host;
mod http;
mod metrics;
mod outbox;
mod proxy;
mod reply;
mod root;
mod route;
mod shared;

use proxy_wasm::types::LogLevel;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(root::Root::default()));
}}
