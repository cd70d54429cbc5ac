//! A real Envoy in tests: its process, and the xDS control plane that drives it.
//!
//! ```text
//!  resources::*  ──►  xds::ControlPlane  ══ ADS ══►  process::Envoy  ──►  engines (simulated or plain HTTP)
//!  typed, as in        versions, ACK, NACK            pid, log, admin           ▲
//!  envoy/envoy.yaml                                        ▲                    │
//!                                                          │                    │
//!  shipped::ShippedConfig ── a file ───────────────────────┘       warmpath-http┘  (through the listener)
//!  envoy/envoy.yaml itself, other ports
//! ```
//!
//! Two ways to configure one Envoy, because they answer different questions. [`shipped`] runs the very file
//! that users get. [`xds`] changes the configuration while requests are under way, which a static file
//! cannot, and shows which configurations Envoy refuses. A test keeps the two alike.
//!
//! There is no fake Envoy here: what a fake would get wrong (when a filter may stop, what a retry resends,
//! what an update does to a running VM) is what the tests are for.

mod binary;
pub mod process;
pub mod resources;
pub mod shipped;
mod wait;
pub mod xds;

pub use self::binary::{BinaryError, envoy_binary, target_folder};
pub use self::wait::{DEADLINE, DeadlinePassed, until};
