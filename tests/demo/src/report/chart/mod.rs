//! Charts as inline SVG. No library: three charts of rectangles and lines, whose colours are the page's CSS
//! variables, so that they follow the reader's colour scheme.

mod bars;
mod distribution;
mod engines;

pub(super) use bars::bars;
pub(super) use distribution::distribution;
pub(super) use engines::engines;

/// All charts are this wide, in SVG units.
pub const WIDTH: f64 = 760.0;

/// Room for the arms' names at the left.
pub const LEFT: f64 = 110.0;

/// Room for numbers at the right.
pub const RIGHT: f64 = 24.0;

/// The opening of a chart with a title for those who do not see it.
pub fn open(height: f64, title: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">\n<title>{title}</title>\n"
    )
}

/// The end of a chart.
pub const CLOSE: &str = "</svg>\n";
