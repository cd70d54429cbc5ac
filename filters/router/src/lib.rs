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
//! All decisions are the core's; this crate moves bytes between the core and Envoy. `host.rs` alone makes
//! hostcalls, and `abi.rs` declares them. Nothing here may panic: a trap takes every request of its worker with it.

mod abi;
mod contexts;
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
