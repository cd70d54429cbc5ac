//! One figure by another, a line an arm; dots beside the lines are what others measured.

use super::axis::Axis;
use super::svg::{Anchor, Canvas, Point, WIDTH};
use super::{Arm, Chart};

const HEIGHT: f64 = 260.0;
const LEFT: f64 = 64.0;
/// Room for the names behind the lines.
const RIGHT: f64 = 170.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 40.0;
/// Room for a name.
const NAME: f64 = 15.0;
/// Radius of a dot, and how much wider one is that shows around another.
const RADIUS: f64 = 3.5;
const RING: f64 = 2.5;

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    /// Whose it is.
    pub arm: Arm,
    /// Its points, from left to right.
    pub points: Vec<[f64; 2]>,
    /// What others measured.
    pub dots: Vec<[f64; 2]>,
}

/// The chart; nothing where there is nothing to show.
pub fn lines(title: &str, [across, up]: [&Axis; 2], lines: &[Line]) -> Chart {
    let all = |part: usize| {
        let points = lines.iter().flat_map(|line| line.points.iter().chain(&line.dots));
        points.filter_map(move |point| point.get(part).copied())
    };
    let x = across.ruler(all(0), LEFT, WIDTH - RIGHT);
    let y = up.ruler(all(1), HEIGHT - BOTTOM, TOP);
    let (Some(x), Some(y)) = (x, y) else { return Chart::default() };
    let mut canvas = Canvas::default();
    for value in y.ticks() {
        let at = y.at(value);
        canvas.line("grid", [LEFT, at], [WIDTH - RIGHT, at]);
        canvas.text("tick", [LEFT - 8.0, at + 4.0], Anchor::End, &(up.show)(value));
    }
    for value in x.ticks() {
        let at = x.at(value);
        canvas.line("grid", [at, TOP], [at, HEIGHT - BOTTOM]);
        canvas.text("tick", [at, HEIGHT - BOTTOM + 16.0], Anchor::Middle, &(across.show)(value));
    }
    canvas.text("tick", [0.0, 13.0], Anchor::Start, up.label);
    canvas.text("tick", [WIDTH - RIGHT, HEIGHT - 4.0], Anchor::End, across.label);
    let place = |point: &Point| [x.at(point[0]), y.at(point[1])];
    for (number, line) in lines.iter().enumerate() {
        let class = line.arm.role.class();
        canvas.polyline(&format!("line {class}"), line.points.iter().map(place));
        // The same dots may belong to several lines: those drawn first are larger.
        let later = lines.iter().skip(number + 1).filter(|other| other.dots == line.dots).count();
        for dot in &line.dots {
            canvas.dot(&format!("dot {class}"), place(dot), RADIUS + RING * later as f64, "");
        }
    }
    names(&mut canvas, lines, place);
    canvas.finish(HEIGHT, title)
}

/// The arms' names behind their last points, moved apart where they would meet.
fn names(canvas: &mut Canvas, lines: &[Line], place: impl Fn(&Point) -> Point) {
    let mut ends: Vec<(f64, &Line)> =
        lines.iter().filter_map(|line| Some((place(line.points.last()?)[1], line))).collect();
    ends.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut free = 0.0_f64;
    for (y, line) in ends {
        let y = y.max(free);
        free = y + NAME;
        let x = WIDTH - RIGHT + 12.0;
        canvas.rect(&format!("bar {}", line.arm.role.class()), [x, y - 8.0], [8.0, 8.0]);
        canvas.text("", [x + 14.0, y], Anchor::Start, &line.arm.name);
    }
}
