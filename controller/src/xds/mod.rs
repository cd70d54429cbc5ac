//! Endpoints for Envoy over EDS: its clusters have a new address milliseconds after the controller.
//!
//! ```text
//!   pools ─► endpoints::resources ─► Resources (watch) ─► Session ═ StreamEndpoints / DeltaEndpoints ═► Envoy
//!                                                            ▲                                            │
//!                                                            └────────────── ACK, NACK ───────────────────┘
//! ```
//!
//! The state stream names the endpoints that the filter may choose. Envoy's cluster must have the same ones, or it skips the
//! choice, and a cluster that resolves names (`STRICT_DNS`) lags by seconds. Only EDS is served here: listeners, clusters and
//! routes belong to whatever configures Envoy.
//!
//! The state machine knows all kinds of resources, because the tests' control plane runs on it, too. It is pure: [`Resources`]
//! holds what there is, [`Session`] what one stream has subscribed to and has been sent, in either variant of the protocol. A
//! session computes each response from the current resources, so nothing queues up for an Envoy that reads slowly.

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
