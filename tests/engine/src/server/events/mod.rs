//! The engine publishes what its cache holds, as vLLM does: KV events over ZMQ.
//!
//! ```text
//!  model: changes of a step ─► content: blocks by request ─► event ─► encode ─► publisher ─► PUB, and a buffer for ROUTER
//!                                                                                ▲ faults
//! ```
//!
//! Written from captured frames and not from the router's decoder, so that an error in one does not hide the same error in the
//! other.

mod config;
mod content;
mod encode;
mod event;
mod publisher;
mod socket;

pub use config::{Encoding, Hashes, KvEvents};
pub(super) use content::{Content, Contents};
pub(super) use publisher::{Publisher, Publishing};
pub(super) use socket::Sources;
