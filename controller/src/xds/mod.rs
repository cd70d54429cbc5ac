//! Endpoints for Envoy over EDS: which addresses its clusters have, in milliseconds after the controller knows.
//!
//! ```text
//!   pools ─► endpoints::resources ─► Resources (watch) ─► Session ═ StreamEndpoints / DeltaEndpoints ═► Envoy
//!                                                            ▲                                            │
//!                                                            └────────────── ACK, NACK ───────────────────┘
//! ```
//!
//! The state stream names the endpoints that the filter may choose; Envoy's cluster must have the same ones, or it skips the
//! choice. A cluster of names (`STRICT_DNS`) follows pods in seconds. EDS is all that is served here: listeners, clusters and
//! routes stay those of whoever configures Envoy.
//!
//! The state machine knows all kinds of resources, because the control plane of the tests runs on it too. It is pure:
//! [`Resources`] is what there is, [`Session`] what one stream has asked for and has been sent, in either variant of the
//! protocol. A session computes each response from the resources of the moment, so nothing queues up for an Envoy that reads
//! slowly.

mod delta;
mod endpoints;
mod resource;
mod resources;
mod service;
mod session;
mod state_of_the_world;
mod stream;

pub use delta::Delta;
pub use endpoints::{ENGINES, Publisher, assignment};
pub use resource::{Kind, Resource};
pub use resources::{Resources, Tag, Version};
pub use service::EndpointService;
pub use session::{Refused, Rejection, Reply, Session};
pub use state_of_the_world::StateOfTheWorld;
pub use stream::{Observer, Responses, Variant, open};
