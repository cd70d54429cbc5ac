//! Requests sent to each engine over time: a strip of cells an engine, darker where more went.
//!
//! Lines for eight engines would lie on top of each other; what matters is whether one row stands out for long.

use std::fmt::Write;

use super::{CLOSE, LEFT, RIGHT, WIDTH, open};
use crate::measure::ArmRun;

/// Cells of a strip.
const BINS: usize = 60;
const ROW: f64 = 12.0;
const GAP: f64 = 18.0;
const AXIS: f64 = 24.0;

/// The chart.
pub(in crate::report) fn engines(runs: &[ArmRun], engines: usize) -> String {
    let block = ROW * engines as f64 + GAP;
    let height = block * runs.len() as f64 + AXIS;
    let mut svg = open(height, "Requests sent to each engine over time, by arm");
    let span_ms = runs.iter().map(ArmRun::span_ms).fold(1.0, f64::max);
    let counted: Vec<Vec<usize>> = runs.iter().map(|run| count(run, engines, span_ms)).collect();
    let most = counted.iter().flatten().copied().max().unwrap_or(1).max(1);
    let cell = (WIDTH - LEFT - RIGHT) / BINS as f64;
    for (number, (run, counts)) in runs.iter().zip(&counted).enumerate() {
        let top = block * number as f64;
        let name = run.arm.name();
        let _ = writeln!(
            svg,
            "<text class=\"name\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>\
             <rect class=\"field\" x=\"{LEFT}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
            LEFT - 10.0,
            top + ROW * engines as f64 / 2.0 + 4.0,
            WIDTH - LEFT - RIGHT,
            ROW * engines as f64
        );
        for (at, requests) in counts.iter().enumerate().filter(|(_, requests)| **requests > 0) {
            let _ = writeln!(
                svg,
                "<rect class=\"arm {name}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" opacity=\"{:.2}\"/>",
                LEFT + cell * (at % BINS) as f64,
                top + ROW * (at / BINS) as f64,
                cell - 0.5,
                ROW - 1.0,
                0.15 + 0.85 * *requests as f64 / most as f64
            );
        }
    }
    axis(&mut svg, height, span_ms, most);
    svg + CLOSE
}

/// Requests by engine and bin, engine by engine.
fn count(run: &ArmRun, engines: usize, span_ms: f64) -> Vec<usize> {
    let mut counts = vec![0; engines * BINS];
    for (call, answer) in run.answered() {
        let bin = ((call.at_ms / span_ms * BINS as f64) as usize).min(BINS - 1);
        if let Some(count) = answer.engine.and_then(|engine| counts.get_mut(engine * BINS + bin)) {
            *count += 1;
        }
    }
    counts
}

fn axis(svg: &mut String, height: f64, span_ms: f64, most: usize) {
    let seconds = span_ms / 1_000.0;
    let _ = writeln!(
        svg,
        "<text class=\"tick\" x=\"{LEFT}\" y=\"{y:.1}\">0 s</text>\
         <text class=\"tick\" x=\"{:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">one row an engine; \
         the fullest cell: {most} requests in {:.1} s</text>\
         <text class=\"tick\" x=\"{:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{seconds:.0} s</text>",
        f64::midpoint(LEFT, WIDTH - RIGHT),
        seconds / BINS as f64,
        WIDTH - RIGHT,
        y = height - AXIS + 16.0,
    );
}
