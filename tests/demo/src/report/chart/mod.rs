//! Charts as inline SVG, in the frame that all pages of measurements share.

mod bars;
mod distribution;
mod engines;

pub(super) use bars::bars;
pub(super) use distribution::distribution;
pub(super) use engines::engines;

/// Room for the arms' names at the left, in SVG units.
const LEFT: f64 = 110.0;

/// Room for numbers at the right.
const RIGHT: f64 = 24.0;
