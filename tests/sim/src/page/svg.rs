//! The frame of a chart.

/// All charts are this wide, in SVG units.
pub const WIDTH: f64 = 760.0;

/// The end of a chart.
pub const CLOSE: &str = "</svg>\n";

/// The opening of a chart with a title for those who do not see it.
pub fn open(height: f64, title: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">\n<title>{title}</title>\n"
    )
}
