//! The simulator: recorded traces, the routing core that ships, and the published rules beside it.
//!
//! ```text
//!  trace | ladder ─► workload (jobs: cells for the router, blocks for the engine)
//!                        │
//!                        ▼
//!   run ── agenda ─► rule.choose ─► engines (warmpath-engine's model) ─► first token, end ─► rule
//!    │                 ├─ rules/*    one other rule a file, with exact and undelayed state
//!    │                 └─ warmpath/  the routers of N proxies, and the controller's hub behind a network
//!    ▼
//!  measure ─► sweep (a plan on all threads) ─► report (tables, report.json, report.html)
//!                └─► calibrate (published ladders)
//! ```
//!
//! Beside it, `scaling` plays days on which policies start and stop engines, with an engine that is quicker to play.
//!
//! Discrete events from one seed: the same seed gives the same bytes, on any machine. Nothing here waits; an
//! hour of traffic takes seconds. The engines are the very model behind the simulated servers of the other
//! tests, and requests go through the very `Router` that the filter is a shell of.
#![allow(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a measuring tool: counts are far below 2^52, indices are handed out by the tables they index, and a \
              broken invariant has to stop the run that met it"
)]
#![allow(clippy::similar_names, reason = "a seed and a speed are what they are called")]

pub mod args;
pub mod arm;
pub mod bound;
pub mod calibrate;
pub mod fleet;
pub mod measure;
pub mod mixture;
pub mod plan;
pub mod pool;
pub mod report;
pub mod rules;
pub mod run;
pub mod scaling;
pub mod scenario;
pub mod sweep;
pub mod trace;
pub mod warmpath;
pub mod workload;
