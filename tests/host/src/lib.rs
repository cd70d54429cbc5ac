//! A proxy-wasm (ABI 0.2.1) host on wasmtime that stands in for Envoy.
//!
//! ```text
//!  test ──► Host (one Envoy process: clock, shared data, queues, metrics, log, clusters)
//!             │
//!             ├─ Vm (one worker thread: one wasm instance, its root contexts, its callouts)
//!             │    └─ Stream (one HTTP request: headers, body, trailers, both ways)
//!             └─ Vm ...
//! ```
//!
//! Nothing runs by itself. The test decides which VM gets its tick, its queue wake-ups, its gRPC message or its next
//! piece of a body, so every interleaving of worker threads can be written down and repeated. Tests in a real Envoy show
//! *whether* the filter works in Envoy; this host shows in milliseconds *why* it does not, and reproduces what a real
//! Envoy reaches only by luck: races over shared data, a trap in the middle of a request, a stream that closes at the
//! wrong moment.
//!
//! Semantics follow Envoy 1.40: `source/extensions/common/wasm/context.cc` and `proxy-wasm-cpp-host`
//! (`src/exports.cc`, `src/context.cc`). Where Envoy's behaviour is undefined (it reads freed or foreign
//! memory) the host refuses the call and records a [`Violation`].

#![allow(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "guest addresses and sizes are 32 bits wide, the host's usize is 64"
)]
mod abi;
mod callouts;
mod error;
mod guest;
mod headers;
mod host;
mod hostcalls;
mod metrics;
mod module;
mod options;
mod process;
mod queues;
mod shared;
mod stream;
mod vm;

pub use abi::{Action, LogLevel};
pub use callouts::{GrpcState, GrpcStream, HttpCall, HttpCallState};
pub use error::{LoadError, Outcome, StartError, Trap};
pub use guest::Counts;
pub use headers::Headers;
pub use host::Host;
pub use module::{Import, Module};
pub use options::Options;
pub use process::LogLine;
pub use stream::{Forwarded, LocalResponse, Stream};
pub use vm::{Violation, Vm};
