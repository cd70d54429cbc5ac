//! Playing requests against an arm: as users do (closed loop) or by the clock of a trace (open loop).

mod closed;
mod open;
mod progress;
mod stage;

pub use closed::converse;
pub use open::replay;
pub use progress::Progress;
pub use stage::{Question, Stage};
