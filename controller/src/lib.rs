//! The Warmpath controller: tells every proxy which endpoints exist, how each is doing and what each holds,
//! and passes on what the proxies tell of each other.
//!
//! ```text
//!   config file ─► config ───┐
//!                            ├─► publish::Hub over index::Index ═ gRPC stream ═► proxies
//!   engine /metrics ─► telemetry                    ▲                            │
//!                                                   └──── what they did ─────────┘
//!                                    api: /metrics /healthz /readyz /state /explain
//! ```
//!
//! No request ever waits for the controller: a proxy works on what it last heard, and a controller that
//! starts anew is taught by the proxies what they learned. [`run::start`] runs one in the process.

pub mod api;
pub mod args;
pub mod clock;
pub mod config;
pub mod explain;
pub mod index;
pub mod logs;
pub mod metrics;
pub mod publish;
pub mod run;
pub mod telemetry;
