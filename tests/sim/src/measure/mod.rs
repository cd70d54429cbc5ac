//! From single requests to the numbers of a run.

mod closed;
mod phases;
mod record;
mod samples;
mod summary;

pub use closed::{Closed, GroupClosed};
pub use phases::{Phase, phases};
pub use record::Record;
pub use samples::{Samples, Spread};
pub use summary::Summary;
pub use warmpath_report::Quantiles;
