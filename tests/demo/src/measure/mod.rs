//! From single requests to the numbers of an arm.

mod call;
mod quantile;
mod summary;

pub use call::{Answered, Call};
pub use quantile::Quantiles;
pub use summary::{ArmRun, Summary};
