//! The shipped configuration (`envoy/envoy.yaml`) as typed xDS resources, for tests that change it while Envoy
//! runs.
//!
//! Written out a second time rather than translated from the file: translation needs protobuf descriptors that
//! no crate ships. A test compares what Envoy makes of both, so a setting cannot change in one place only.

mod cluster;
mod gateway;
mod listener;
mod policy;
mod route;
mod value;
mod wasm;

pub use self::cluster::{CONTROLLER, ENGINES, controller, endpoints, engines};
pub use self::gateway::Gateway;
pub use self::listener::{Filter, GATEWAY, listener};
pub use self::policy::{Lb, Policy};
pub use self::route::{Retry, route};
pub use self::wasm::WasmFilter;

/// What Envoy buffers for one request: more than the longest prompt, and what a retry needs.
pub const BUFFER_BYTES_MAX: u32 = 65 << 20;

/// The header with which the filter tells the cluster where to send a request: `ip:port[,ip:port...]`.
pub const DESTINATION_HEADER: &str = "x-gateway-destination-endpoint";
