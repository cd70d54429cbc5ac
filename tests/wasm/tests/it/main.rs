//! The built filter in a pretended Envoy: every callback and hostcall, and what a trap leaves behind.
//!
//! What the router decides is tested natively, in filters/core/tests/router; here is its boundary with the host.
//!
//! ```text
//!   support/      the .wasm, a process of VMs, requests, the controller's end of the uplink
//!   artifact      what the file asks of its host          configuration   accepted, refused, renewed
//!   routing       body to endpoint, model to pool         forged          headers of clients that lie
//!   unread        bodies that cannot be looked at         refusal         responses in the engine's place
//!   response      headers, pieces and tails of responses  leaving         clients that go too early
//!   legs          calls of its own, for requests in two legs
//!   siblings      VMs of one process                      uplink          the stream over the host's gRPC
//!   held          requests that wait for an endpoint
//!   withheld      a host that does not show bodies
//!   trap          what is left after one                  cost            hostcalls, bytes, memory: counts, not clocks
//! ```
//!
//! One binary: compiling the module takes longer than most of the tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on has failed"
)]

mod artifact;
mod configuration;
mod cost;
mod forged;
mod held;
mod leaving;
mod legs;
mod refusal;
mod response;
mod routing;
mod siblings;
mod support;
mod trap;
mod unread;
mod uplink;
mod withheld;
