//! The router, driven natively: sequences of inputs, most of them generated, against naive models.
//!
//! ```text
//!   retry         generated: requests, retries and responses in any order
//!   resume        generated: several VMs and a controller, whatever breaks
//!   response      first token, end, retries               usage      tokens from responses
//!   outcome       failures, refusals, silence             fallback   before and without a controller
//!   pools         several models, and requests whose model cannot be read
//!   withheld      bodies that the proxy does not show while a request is paused
//!   rewrites      models in place of those that requests name, objectives, roles
//!   steering      fields that only the router may set           legs       requests in two legs
//!   held          requests that wait for an endpoint, or for room
//!   held_bounds   how much a process holds
//!   held_for_room  more conversations than the caches hold
//!   held_in_any_order  generated: whatever happens to them
//!   turns         conversations that are followed
//!   legs_in_any_order  generated: whatever happens to those  rescue     decode legs that fail
//!   shared_models several pools that serve one model
//!   siblings      VMs of one process                      ring       the log when it is full
//!   checkpoint    VMs that start, or were overtaken
//!   lease         which VM holds the stream               uplink     plugins, the gauge of the connection
//!   state_stream  what goes over the stream               proxy      what the proxy receives beside the endpoint
//!   support/      a process of VMs without a host
//! ```
//!
//! The log and the lease by themselves have their tests beside them. The host's side (hostcalls, copies, traps) is
//! tested with the built filter in tests/wasm.

#![allow(
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

mod checkpoint;
mod elsewhere;
mod fallback;
mod held;
mod held_bounds;
mod held_for_room;
mod held_in_any_order;
mod held_paced;
mod lease;
mod legs;
mod legs_in_any_order;
mod outcome;
mod pools;
mod proxy;
mod reported;
mod rescue;
mod response;
mod resume;
mod retry;
mod rewrites;
mod ring;
mod shared_models;
mod siblings;
mod state_stream;
mod steering;
mod support;
mod turns;
mod uplink;
mod usage;
mod withheld;
