//! The distribution of first-token times: which share of the requests had their first token by when.
//!
//! Time is logarithmic: the arms differ by factors, and the tail would squeeze everything else on a linear axis.

use std::fmt::Write;

use warmpath_sim::page::time_ms;

use super::{CLOSE, LEFT, RIGHT, WIDTH, open};
use crate::measure::ArmRun;

const HEIGHT: f64 = 300.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;

/// Points of a line: more would not be seen.
const POINTS: usize = 200;

/// The chart.
pub(in crate::report) fn distribution(runs: &[ArmRun]) -> String {
    let mut svg = open(HEIGHT, "Share of requests that had their first token by a time, by arm");
    let samples: Vec<(&str, Vec<f64>)> = runs.iter().map(|run| (run.arm.name(), sorted(run))).collect();
    let all = || samples.iter().flat_map(|(_, sample)| sample).copied().filter(|ms| *ms > 0.0);
    let from = all().fold(f64::INFINITY, f64::min).log10().floor();
    let to = all().fold(1.0, f64::max).log10().max(from + 1.0);
    if !from.is_finite() {
        return svg + CLOSE;
    }
    let x = |ms: f64| LEFT + (ms.log10() - from) / (to - from) * (WIDTH - LEFT - RIGHT);
    let y = |share: f64| TOP + (1.0 - share) * (HEIGHT - TOP - BOTTOM);
    grid(&mut svg, from, to, &x, &y);
    for (name, sample) in &samples {
        let mut points = String::new();
        for point in 0..=POINTS {
            let share = point as f64 / POINTS as f64;
            let rank = (share * sample.len() as f64).ceil() as usize;
            if let Some(ms) = sample.get(rank.saturating_sub(1)) {
                let _ = write!(points, "{:.1},{:.1} ", x(*ms), y(share));
            }
        }
        let _ = writeln!(svg, "<polyline class=\"line {name}\" points=\"{}\"/>", points.trim_end());
    }
    svg + CLOSE
}

fn grid(svg: &mut String, from: f64, to: f64, x: &impl Fn(f64) -> f64, y: &impl Fn(f64) -> f64) {
    for (share, label) in [(0.0, "0"), (0.5, "half"), (0.9, "90 %"), (0.99, "99 %")] {
        let at = y(share);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            WIDTH - RIGHT,
            LEFT - 10.0,
            at + 4.0
        );
    }
    for decade in from as i32..=to as i32 {
        for step in [1.0, 2.0, 5.0] {
            let ms = step * 10_f64.powi(decade);
            if ms.log10() > to {
                continue;
            }
            let at = x(ms);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{:.1}\"/>\
                 <text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                y(0.0),
                y(0.0) + 18.0,
                time_ms(ms)
            );
        }
    }
    let _ = writeln!(
        svg,
        "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">time to first token</text>",
        WIDTH - RIGHT,
        HEIGHT - 4.0
    );
}

fn sorted(run: &ArmRun) -> Vec<f64> {
    let mut sample: Vec<f64> = run.answered().map(|(_, answer)| answer.ttft_ms).collect();
    sample.sort_by(f64::total_cmp);
    sample
}
