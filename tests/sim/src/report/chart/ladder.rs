//! A published ladder beside the simulator's: output tokens/s by rate, dots as published, lines as simulated.

use std::fmt::Write;

use crate::calibrate::{ArmRun, Ladder, Point};
use crate::page::svg::{CLOSE, WIDTH, open};

const HEIGHT: f64 = 230.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 34.0;
/// Lines of the grid.
const STEPS: i32 = 4;

/// Ticks of the rate, or fewer.
const TICKS: f64 = 6.0;
/// Radius of a dot, and how much wider one is that shows around another.
const RADIUS: f64 = 3.5;
const RING: f64 = 2.5;

/// Colours of the arms, in their order.
const CLASSES: [&str; 3] = ["other", "bound", "ours"];
/// Room for a label at the right.
const LABEL: f64 = 30.0;

/// The chart.
pub(in crate::report) fn ladder(ladder: &Ladder) -> String {
    let mut svg = open(HEIGHT, "Output tokens a second by request rate, published and simulated");
    let points = || ladder.arms.iter().flat_map(|arm| &arm.points);
    let rate = points().map(|point| point.rate).fold(1.0, f64::max);
    let most =
        points().map(|point| point.published.output_tokens_per_s.max(point.simulated.output_tokens_per_s));
    let step = round_up(most.fold(1.0, f64::max) / f64::from(STEPS));
    let x = |at: f64| LEFT + at / rate * (WIDTH - LEFT - RIGHT);
    let y = |tokens: f64| TOP + (1.0 - tokens / (step * f64::from(STEPS))) * (HEIGHT - TOP - BOTTOM);
    for line in 0..=STEPS {
        let tokens = step * f64::from(line);
        let at = y(tokens);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{tokens:.0}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            at + 4.0
        );
    }
    let _ = writeln!(svg, "<text class=\"tick\" x=\"0\" y=\"13\">output tokens/s</text>");
    let tick_step = round_up(rate / TICKS);
    for at in (0..).map(|tick| f64::from(tick) * tick_step).take_while(|at| *at <= rate) {
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{:.1}\" x2=\"{at:.1}\" y2=\"{:.1}\"/>\
             <text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label:.0}</text>",
            HEIGHT - BOTTOM,
            HEIGHT - BOTTOM + 5.0,
            HEIGHT - BOTTOM + 18.0,
            at = x(at),
            label = at
        );
    }
    let _ = writeln!(
        svg,
        "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\">requests/s</text>",
        WIDTH - RIGHT + 12.0,
        HEIGHT - BOTTOM + 18.0
    );
    for (number, (arm, class)) in ladder.arms.iter().zip(CLASSES).enumerate() {
        // Lines that stand for the same published arm have the same dots: those drawn first are larger.
        let later = ladder.arms.iter().skip(number + 1).filter(|other| other.published == arm.published);
        let radius = RADIUS + RING * later.count() as f64;
        draw(&mut svg, arm, class, radius, &x, &y);
    }
    labels(&mut svg, ladder, x(rate) + 12.0, &y);
    svg + CLOSE
}

fn draw(
    svg: &mut String,
    arm: &ArmRun,
    class: &str,
    radius: f64,
    x: &impl Fn(f64) -> f64,
    y: &impl Fn(f64) -> f64,
) {
    let line: Vec<String> = arm
        .points
        .iter()
        .map(|point| format!("{:.1},{:.1}", x(point.rate), y(point.simulated.output_tokens_per_s)))
        .collect();
    let _ = writeln!(svg, "<polyline class=\"{class}\" points=\"{}\"/>", line.join(" "));
    for Point { rate, published, .. } in &arm.points {
        let (x, y) = (x(*rate), y(published.output_tokens_per_s));
        let _ = writeln!(svg, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"/>");
    }
}

/// The arms' names behind their last points, moved apart where they would meet.
fn labels(svg: &mut String, ladder: &Ladder, x: f64, y: &impl Fn(f64) -> f64) {
    let mut labels: Vec<(f64, &ArmRun)> = ladder
        .arms
        .iter()
        .filter_map(|arm| Some((y(arm.points.last()?.simulated.output_tokens_per_s), arm)))
        .collect();
    labels.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut free = 0.0_f64;
    for (at, arm) in labels {
        let at = at.max(free);
        free = at + LABEL;
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{at:.1}\">{}</text>\
             <text class=\"tick small\" x=\"{x:.1}\" y=\"{:.1}\">for {}</text>",
            arm.rule,
            at + 12.0,
            arm.published
        );
    }
}

/// The next of 1, 2, 2.5, 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    let decade = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0]
        .map(|step| step * decade)
        .into_iter()
        .find(|step| *step >= value)
        .unwrap_or(value)
}
