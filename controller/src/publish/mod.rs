//! The state stream's serving side: every proxy gets a snapshot or resumes, then deltas, and what one of
//! them reports reaches all others.
//!
//! ```text
//!   Streaming<Up> ─► session ─► Hub::receive ─► Index::accept ─► backlog of every other proxy
//!                                                                    │ wake
//!   ReceiverStream ◄─ 2 messages ◄─ session ◄─ Hub::take ◄───────────┘
//! ```

mod backlog;
mod codec;
mod demand;
mod hub;
mod latency;
mod message;
mod outcomes;
mod refusal;
mod relay;
mod roster;
mod service;
mod session;
mod taught;
mod turns;
mod usage;

pub use backlog::{Added, Backlog};
pub use demand::{Arrived, Firsts, Taken};
pub use hub::{Batch, Hub, StreamId};
pub use latency::FirstTokens;
pub use message::Stamp;
pub use refusal::Refusal;
pub(crate) use roster::clip;
pub use roster::{ConnectedProxy, RefusedProxy};
pub use service::StateService;
pub use session::Shared;
pub use usage::Cached;
