//! A simulated day of engines that start and go: scaling policies on the same demand.
//!
//! ```text
//!  demand (a day's shape, conversations) ─► world ── router: least work, with what caches hold
//!                                             │  ▲
//!               what a policy may see ◄───────┘  └─── replicas, and which engines go ◄── policies/* (one a file)
//!                                                                                          └─ warmpath: the shipped plan
//! ```
//!
//! The engines are not those of the routing workloads, which take every step of every sequence: a day has some hundred thousand
//! requests, and each policy is played with several settings. They have the same step times ([`warmpath_engine::model::StepTime`]),
//! continuous batches and chunked prefills, but a cache counts tokens of conversations instead of blocks (`engine`), and one router
//! chooses for all policies. Only the number of engines differs between them, and which of them go.

mod demand;
mod engine;
mod policies;
mod report;
mod setting;
mod world;

pub use policies::Hpa;
pub use report::run;
pub use setting::Options;

/// The names of the policies that can be chosen.
pub const POLICIES: [&str; 6] = policies::Setting::NAMES;
