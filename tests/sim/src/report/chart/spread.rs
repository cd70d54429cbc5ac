//! Requests at an engine over time: the mean of all, and the engine that has most. A cell an arm, all with one
//! scale, so that height can be compared.

use std::fmt::Write;

use super::{class, shown};
use crate::measure::Spread;
use crate::page::escape;
use crate::page::svg::{CLOSE, WIDTH, open};
use crate::plan::Kind;
use crate::report::group::{Group, Line};

const COLUMNS: usize = 4;
const GAP: f64 = 14.0;
const HEIGHT: f64 = 62.0;
const HEAD: f64 = 18.0;
const FOOT: f64 = 10.0;
/// The scale ends where the median arm would be so many times as high.
const HIGHEST: f64 = 3.0;

/// The chart.
pub(in crate::report) fn spread(group: &Group) -> String {
    let lines: Vec<&Line> = shown(group).into_iter().filter(|line| !line.spread.is_empty()).collect();
    let rows = lines.len().div_ceil(COLUMNS);
    let step = HEAD + HEIGHT + FOOT;
    let mut svg = open(step * rows as f64 + 16.0, "Requests at an engine over time by rule");
    let mut highest: Vec<f64> =
        lines.iter().map(|line| line.spread.iter().map(|bin| bin.most).fold(0.0, f64::max)).collect();
    highest.sort_by(f64::total_cmp);
    let median = highest.get(highest.len() / 2).copied().unwrap_or_default();
    let top = highest.last().copied().unwrap_or_default().min(HIGHEST * median).max(1.0);
    let width = (WIDTH - GAP * (COLUMNS as f64 - 1.0)) / COLUMNS as f64;
    for (number, line) in lines.iter().enumerate() {
        let x = (width + GAP) * (number % COLUMNS) as f64;
        let y = step * (number / COLUMNS) as f64;
        cell(&mut svg, line, (x, y, width), top);
    }
    let _ = writeln!(
        svg,
        "<text class=\"tick small\" x=\"0\" y=\"{:.1}\">full height: {top:.0} requests; dashed: the mean of all engines; \
         behind the name: most over mean</text>",
        step * rows as f64 + 10.0
    );
    svg + CLOSE
}

fn cell(svg: &mut String, line: &Line, (x, y, width): (f64, f64, f64), top: f64) {
    let name = if line.kind == Kind::Ours { " class=\"ours\"" } else { "" };
    let _ = writeln!(
        svg,
        "<text{name} x=\"{x:.1}\" y=\"{:.1}\">{}</text>\
         <text class=\"tick small\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{:.2}x</text>\
         <rect class=\"field\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{HEIGHT}\"/>",
        y + 12.0,
        escape(&line.rule),
        x + width,
        y + 12.0,
        line.figures.imbalance,
        y + HEAD
    );
    let most = line.spread.iter().map(|bin| bin.most).fold(0.0, f64::max);
    if most > top {
        let _ = writeln!(
            svg,
            "<text class=\"tick small\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">cut: up to {most:.0}</text>",
            x + width - 4.0,
            y + HEAD + 11.0
        );
    }
    let end_s = line.spread.last().map_or(1.0, |bin| bin.at_s).max(1e-9);
    let points = |of: fn(&Spread) -> f64| {
        let mut points = String::new();
        for bin in &line.spread {
            let height = (of(bin) / top).min(1.0) * HEIGHT;
            let _ = write!(points, "{:.1},{:.1} ", x + bin.at_s / end_s * width, y + HEAD + HEIGHT - height);
        }
        points
    };
    let first = x + line.spread.first().map_or(0.0, |bin| bin.at_s) / end_s * width;
    let bottom = y + HEAD + HEIGHT;
    let _ = writeln!(
        svg,
        "<polygon class=\"{}\" points=\"{first:.1},{bottom:.1} {}{:.1},{bottom:.1}\"/>\
         <polyline class=\"mean\" points=\"{}\"/>",
        class(line.kind),
        points(|bin| bin.most),
        x + width,
        points(|bin| bin.mean).trim_end()
    );
}
