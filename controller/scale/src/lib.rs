//! How many engines each role of a service needs, and which of them may go.
//!
//! ```text
//!   what arrived since the last plan ─► series ─► level and trend, as far as they are significant ─┐
//!   what waits, what is held ──────────────────────────────────────────────────────────────────────┼─► need ─► plan ─► replicas,
//!   learned speeds of the role's engines ──────────────────────────────────────────────────────────┘    ▲        │     reason,
//!   who missed the objectives ─► correction ────────────────────────────────────────────────────────────┘        │     who goes
//!                                                                                                   State ◄──────┘
//! ```
//!
//! There is no clock, client or randomness: [`plan`](fn@plan) takes what was seen and the state of the plan before, and returns
//! replicas and the next state. The same function serves every replica of the controller, the simulator and the tests.
//!
//! The obvious way would be a threshold on a metric of the engines (queue length, KV use), as an HPA has it. Such a metric shows
//! nothing of how much is missing: a full engine is full whether it lacks a tenth or nine tenths. What proxies see arrive does
//! (decision 15).

mod correction;
mod forecast;
mod learn;
mod leaving;
mod need;
mod plan;
mod policy;
mod reason;
mod seen;

pub use learn::{Steps, Wake};
pub use need::Need;
pub use plan::{Planned, RolePlan, RoleState, State, break_even_s, plan, reversals_per_hour_max};
pub use policy::{Bounds, Objectives, Policy, Problem, REPLICAS_MAX, RawBounds, RawPolicy};
pub use reason::Reason;
pub use seen::{Backlog, Demand, Engine, EngineId, EngineState, Legs, Role, Seen, Speeds};
