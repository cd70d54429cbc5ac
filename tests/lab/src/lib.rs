//! Demo, trace replay and bench: engines, controller and Envoy started together, and measured side by side.
//!
//! [`mod@bench`] measures what routing costs, [`bench_pd`] what it costs in two legs, [`faults`] what clients notice while parts fail. The rest is the demo and the replay, which show what routing gains:
//!
//! ```text
//!  workload | trace ─► play (closed loop | open loop) ─► client ─► Envoy ─► simulated engines
//!                        │                                           cluster::* starts all of it
//!                        ├─► ideal (what one endless cache would hold)
//!                        └─► measure (calls, summary) ─► report (sections for warmpath-report, JSON)
//! ```
//!
//! Every arm gets the same requests, its own cold engines and its own Envoy, with the configuration that users
//! get; only the choice of the engine differs. Times are *model time*: wall time multiplied by the time scale.
//! The engines run that many times faster than real ones, the proxy does not, so what the proxy and this client
//! cost counts that many times against every arm.
#![allow(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a measuring tool: counts, bytes and microseconds are far below 2^52"
)]
#![allow(clippy::print_stdout, reason = "a command-line program talks on standard output")]

pub mod agents;
pub mod args;
pub mod arm;
pub mod bench;
pub mod bench_pd;
pub mod client;
pub mod cluster;
pub mod demo;
pub mod faults;
pub mod ideal;
pub mod kubernetes;
pub mod measure;
pub mod paths;
pub mod play;
pub mod prompt;
pub mod replay;
pub mod report;
pub mod up;
pub mod workload;
