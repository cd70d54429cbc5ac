//! A simulated inference engine: what a router sees of vLLM, without the GPU.
//!
//! ```text
//!  HTTP body ─► api (what is asked) ─► text (prompt bytes) ─► model::chain (block hashes)
//!                                                                   │
//!  HTTP answer ◄─ api (how it is told) ◄─ server::flight ◄─ events ◄┴─ model::Engine (time is an argument)
//! ```
//!
//! [`model`] is pure: no clock, no socket, no randomness of its own. A discrete-event simulation drives it
//! with made-up time; [`server`] drives the same code with the wall clock and speaks the engine's protocols.
//! Nothing here is shared with the routing core: an error in the one must not hide the same error in the other.
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
pub use server::{EngineServer, Fault, ServerConfig, State};
