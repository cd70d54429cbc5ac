//! Routing: which endpoint a request goes to, and why.
//!
//! ```text
//!   request ─► Query (pool, chain, size) ─► choose ─► Decision ─► Explanation
//!      └► target            ▲                  ├ sample: the endpoints of a large pool to examine
//!                         view                ├ weigh (cost): the work of the request at each
//!                                             └ split: two endpoints, one for each leg, if that is cheaper
//! ```
//!
//! The same in the filter, in the controller's explanations and in the simulator.

mod asked;
mod choose;
mod decision;
mod explanation;
mod query;
mod rewrite;
mod sample;
mod split;
mod weigh;

pub use choose::{Options, choose};
pub use decision::{Candidate, Decision, NoEndpoint, Reason};
pub use explanation::{CandidateExplanation, Explanation, GateExplanation, SplitExplanation};
pub use query::Query;
pub use rewrite::target;
pub use split::{Split, Unsplit, split};
