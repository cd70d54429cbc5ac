//! Playing requests against an arm: as users do (closed loop) or by the clock of a trace (open loop).

mod agents;
mod closed;
mod open;
mod progress;
mod stage;

pub use agents::{Span, work};
pub use closed::converse;
pub use open::replay;
pub use progress::Progress;
pub use stage::{Question, Setting, Stage};
