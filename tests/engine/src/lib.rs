//! A simulated inference engine: everything of vLLM that a router can observe, without the GPU.
//!
//! ```text
//!  HTTP request ─► api (parse) ─► text (prompt bytes) ─► model::chain (block hashes)
//!                                                              │
//!  HTTP response ◄─ api (encode) ◄─ server::flight ◄─ events ◄─┴─ model::Engine (time is an argument)
//! ```
//!
//! [`model`] is pure: no clock, no socket, no randomness of its own. A discrete-event simulation drives it
//! with simulated time; [`server`] drives the same code with the wall clock and speaks the engine's protocols. Nothing
//! is shared with the routing core, so that an error in one cannot hide the same error in the other.
#![allow(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "test support: counts are far below 2^52, block ids are indices by construction, and a broken \
              invariant has to stop the test that met it"
)]

pub mod api;
pub mod model;
pub mod server;
pub mod text;

pub use model::{Engine, Params, Preset};
pub use server::{
    Encoding, EngineServer, EventFault, Fault, Hashes, KvEvents, Legs, LoadFailure, Nonsense, Opening, Role,
    Scrape, ServerConfig, Slept, State, Transfer, TransferProtocol,
};
