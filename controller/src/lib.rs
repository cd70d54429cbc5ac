//! The Warmpath controller: publishes endpoints, engine status and prefixes to every proxy, and forwards the events of
//! each proxy to the others.
//!
//! ```text
//!   config file ─► config ───┐
//!                            ├─► xds::Publisher ═ EDS ═════════════════════════► Envoys
//!                            ├─► publish::Hub over index::Index ═ gRPC stream ═► proxies
//!   engine /metrics ─► telemetry                    ▲                            │
//!                                                   └──── their events ──────────┘
//!                                    api: /metrics /healthz /readyz /state /proxies /explain /wasm
//!                                                                    ▲                  ▲
//!                                           `warmpath get`, `warmpath check`  `warmpath explain`
//! ```
//!
//! No request ever waits for the controller. A proxy uses the state that it has, and a restarted controller relearns the
//! prefixes from the proxies. [`run::start`] runs a controller in the process.

pub mod api;
pub mod args;
pub mod check;
pub mod clock;
mod columns;
pub mod config;
pub mod deploy;
pub mod events;
pub mod explain;
#[cfg(test)]
mod fake_api;
pub mod get;
pub mod identity;
pub mod index;
mod leader;
pub mod logs;
pub mod metrics;
pub mod picker;
pub mod plan;
pub mod proxy;
pub mod publish;
pub mod replicas;
pub mod run;
mod scale;
mod status;
pub mod telemetry;
pub mod watch;
pub mod web;
pub mod xds;
