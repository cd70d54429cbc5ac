//! Routing: which endpoint a request goes to, and why.
//!
//! ```text
//!   request ─► Query (pool, chain, size) ─► choose ─► Decision ─► Explanation
//!                          ▲                  ├ sample: which endpoints of a large pool are looked at
//!                         view                └ weigh (cost): what the request would mean for each
//! ```
//!
//! The same in the filter, in the controller's explanations and in the simulator.

mod choose;
mod decision;
mod explanation;
mod query;
mod sample;
mod weigh;

pub use choose::{Options, choose};
pub use decision::{Candidate, Decision, NoEndpoint, Reason};
pub use explanation::{CandidateExplanation, Explanation};
pub use query::Query;
