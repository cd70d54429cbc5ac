//! From single requests to the numbers of an arm.

mod call;
mod summary;

pub use call::{Answered, Call};
pub use summary::{ArmRun, Summary, Window};
pub use warmpath_report::{Quantiles, percentile};
