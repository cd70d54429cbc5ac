//! Charts as inline SVG, in the frame that all pages of measurements share.

mod bars;
mod distribution;
mod engines;

pub(super) use bars::bars;
pub(super) use distribution::distribution;
pub(super) use engines::engines;

pub use warmpath_sim::page::svg::{CLOSE, WIDTH, open};

/// Room for the arms' names at the left, in SVG units.
pub const LEFT: f64 = 110.0;

/// Room for numbers at the right.
pub const RIGHT: f64 = 24.0;
