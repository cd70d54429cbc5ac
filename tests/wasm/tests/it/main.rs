//! The built filter in a pretended Envoy: every callback, every interleaving of worker threads, every failure
//! of its neighbours, written down and repeatable.
//!
//! ```text
//!   support/      the .wasm, a process of VMs, requests, the controller's end of the feed
//!   artifact      what the file asks of its host          configuration   accepted, refused, renewed
//!   routing       body to endpoint, model to pool         forged          headers of clients that lie
//!   unread        bodies that cannot be looked at         refusal         responses in the engine's place
//!   response      first byte, end, retries, failures      leaving         clients that go too early
//!   usage         tokens from responses                   siblings        VMs of one process
//!   ring          the log when it is full                 trap            what is left after one
//!   lease         which VM holds the stream               feed            what goes over it
//!   cost          hostcalls, bytes, memory: counts, not clocks
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
mod feed;
mod forged;
mod lease;
mod leaving;
mod refusal;
mod response;
mod ring;
mod routing;
mod siblings;
mod support;
mod trap;
mod unread;
mod usage;
