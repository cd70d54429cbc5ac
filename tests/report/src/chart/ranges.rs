//! From the least to the most, an arm a row, a case a block: for what differs by factors from arm to arm.

use super::axis::Axis;
use super::svg::{Anchor, Canvas, LEFT, WIDTH};
use super::{Arm, Chart};

const ROW: f64 = 20.0;
const HEAD: f64 = 26.0;
/// Room below for the numbers of the axis, and for what they are.
const AXIS: f64 = 42.0;
/// Room for a value behind its range.
const VALUE: f64 = 70.0;
/// The least that a range is wide: of equal values, too, something is to be seen.
const WIDTH_MIN: f64 = 2.0;

/// A case.
#[derive(Clone, Debug)]
pub struct Group {
    /// What its rows have in common.
    pub label: String,
    /// A row each.
    pub ranges: Vec<Range>,
}

/// A row.
#[derive(Clone, Debug)]
pub struct Range {
    /// Whose it is.
    pub arm: Arm,
    /// The least.
    pub low: f64,
    /// The most.
    pub high: f64,
    /// Another value to be marked, on the way.
    pub tick: Option<f64>,
    /// The value that counts, which is also shown as a number.
    pub value: f64,
}

/// The chart; nothing where there is nothing to show.
pub fn ranges(title: &str, axis: &Axis, groups: &[Group]) -> Chart {
    let rows = groups.iter().map(|group| group.ranges.len()).sum::<usize>();
    let bottom = ROW * rows as f64 + HEAD * groups.len() as f64;
    let values = groups.iter().flat_map(|group| &group.ranges).flat_map(|range| [range.low, range.high]);
    let Some(ruler) = axis.ruler(values, LEFT, WIDTH - VALUE) else { return Chart::default() };
    let mut canvas = Canvas::default();
    for value in ruler.ticks() {
        let x = ruler.at(value);
        canvas.line("grid", [x, 0.0], [x, bottom]);
        canvas.text("tick", [x, bottom + 16.0], Anchor::Middle, &(axis.show)(value));
    }
    let middle = f64::midpoint(LEFT, WIDTH - VALUE);
    canvas.text("tick", [middle, bottom + 34.0], Anchor::Middle, axis.label);
    let mut top = 0.0;
    for group in groups {
        canvas.text("head", [0.0, top + HEAD - 8.0], Anchor::Start, &group.label);
        top += HEAD;
        for range in &group.ranges {
            let (y, class) = (top + ROW / 2.0, range.arm.role.class());
            top += ROW;
            canvas.text(range.arm.name_class(), [LEFT - 12.0, y + 4.0], Anchor::End, &range.arm.name);
            if range.high <= 0.0 {
                continue;
            }
            let [low, high, value] = [range.low, range.high, range.value].map(|value| ruler.at(value));
            canvas.line(&format!("range {class}"), [low, y], [high.max(low + WIDTH_MIN), y]);
            if let Some(tick) = range.tick.map(|tick| ruler.at(tick)) {
                canvas.line(&format!("tip {class}"), [tick, y - 5.0], [tick, y + 5.0]);
            }
            let shown = (axis.show)(range.value);
            canvas.dot(&format!("dot {class}"), [value, y], 4.5, &shown);
            canvas.text("tick", [high + 10.0, y + 4.0], Anchor::Start, &shown);
        }
    }
    canvas.finish(bottom + AXIS, title)
}
