//! The most and the mean over time, a cell an arm, all with one scale, so that heights can be compared.

use super::svg::{Anchor, Canvas, Point, WIDTH};
use super::{Arm, Chart};

const COLUMNS: usize = 4;
const GAP: f64 = 14.0;
const HEIGHT: f64 = 62.0;
const HEAD: f64 = 18.0;
const FOOT: f64 = 10.0;
/// The scale ends where the median arm would be so many times as high.
const HIGHEST: f64 = 3.0;

/// One arm.
#[derive(Clone, Debug)]
pub struct Area {
    /// Whose it is.
    pub arm: Arm,
    /// A few words at its right.
    pub note: String,
    /// When, the most, and the mean.
    pub bins: Vec<[f64; 3]>,
}

/// The chart. `unit` is what is counted.
pub fn areas(title: &str, unit: &str, areas: &[Area]) -> Chart {
    let mut highest: Vec<f64> = areas.iter().map(Area::most).collect();
    highest.sort_by(f64::total_cmp);
    let median = highest.get(highest.len() / 2).copied().unwrap_or_default();
    let top = highest.last().copied().unwrap_or_default().min(HIGHEST * median).max(1.0);
    let end = areas.iter().filter_map(|area| area.bins.last()).map(|bin| bin[0]).fold(1e-9, f64::max);
    let (columns, step) = (COLUMNS.min(areas.len()).max(1), HEAD + HEIGHT + FOOT);
    let width = (WIDTH + GAP) / columns as f64 - GAP;
    let mut canvas = Canvas::default();
    for (number, area) in areas.iter().enumerate() {
        let x = (width + GAP) * (number % columns) as f64;
        let y = step * (number / columns) as f64;
        area.draw(&mut canvas, [x, y], width, [end, top]);
    }
    let bottom = step * areas.len().div_ceil(columns) as f64;
    let legend =
        format!("full height: {top:.0} {unit}; full width: {end:.0} s; dashed: the mean of all engines");
    canvas.text("tick", [0.0, bottom + 10.0], Anchor::Start, &legend);
    canvas.finish(bottom + 16.0, title)
}

// === impl Area ===

impl Area {
    fn most(&self) -> f64 {
        self.bins.iter().map(|bin| bin[1]).fold(0.0, f64::max)
    }

    fn draw(&self, canvas: &mut Canvas, [x, y]: Point, width: f64, [end, top]: Point) {
        canvas.text(self.arm.name_class(), [x, y + 12.0], Anchor::Start, &self.arm.name);
        canvas.text("tick", [x + width, y + 12.0], Anchor::End, &self.note);
        canvas.rect("field", [x, y + HEAD], [width, HEIGHT]);
        if self.most() > top {
            let cut = format!("cut: up to {:.0}", self.most());
            canvas.text("tick", [x + width - 4.0, y + HEAD + 11.0], Anchor::End, &cut);
        }
        let bottom = y + HEAD + HEIGHT;
        let place = |at: f64, value: f64| [x + at / end * width, bottom - (value / top).min(1.0) * HEIGHT];
        let most = self.bins.iter().map(|[at, most, _]| place(*at, *most));
        let corner = |bin: Option<&[f64; 3]>| bin.map(|[at, ..]| place(*at, 0.0));
        let outline = corner(self.bins.first()).into_iter().chain(most).chain(corner(self.bins.last()));
        canvas.polygon(&format!("area {}", self.arm.role.class()), outline);
        canvas.polyline("mean", self.bins.iter().map(|[at, _, mean]| place(*at, *mean)));
    }
}
