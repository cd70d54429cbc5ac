//! A small HTTP server around the model, with the wall clock and with failures on demand.
//!
//! ```text
//!  listen ─► route ─► api ─► hub: the model under one lock ─► flight ─► stream ─► client
//!    ▲          ▲              ▲ driver task: sleeps until the next step ends
//!    └──────────┴── fault ─────┘
//!                              │    legs: what engines that share a request say to each other
//!                              events: what the cache holds, published over ZMQ
//! ```
//!
//! One lock and one driver task an engine, because a step is microseconds of work: eight engines share two
//! cores with room to spare.

mod config;
mod engine_server;
mod events;
mod fault;
mod flight;
mod histogram;
mod hub;
mod infer;
mod legs;
mod listen;
mod lora;
mod metrics;
mod reply;
mod route;
mod sim;
mod sleep;
mod sources;
mod state;
mod stream;
mod tokens;

pub use config::{Opening, ServerConfig};
pub use engine_server::EngineServer;
pub use events::{Encoding, Hashes, KvEvents};
pub use fault::{EventFault, Fault, Nonsense, Scrape};
pub use legs::{Legs, LoadFailure, Role, Transfer, TransferProtocol, UnknownName};
pub use sleep::Slept;
pub use state::State;
