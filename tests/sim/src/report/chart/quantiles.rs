//! Times to the first and to the last token: from the median to p99, with p90 and the mean on the way.
//!
//! Time is logarithmic: rules differ by factors, and the worst would squeeze all others on a linear axis.

use std::fmt::Write;

use super::{LEFT, ROW, TOP, class, middle, names, shown};
use crate::page::svg::{CLOSE, WIDTH, open};
use crate::page::time_ms;
use crate::report::group::{Figures, Group, Line};

const GAP: f64 = 34.0;
const RIGHT: f64 = 16.0;
const AXIS: f64 = 26.0;

/// p50, p90, p99 and mean of a figure.
type Read = fn(&Figures) -> [f64; 4];

const PANELS: [(&str, Read); 2] = [
    ("time to first token", |one| [one.ttft_p50_ms, one.ttft_p90_ms, one.ttft_p99_ms, one.ttft_mean_ms]),
    ("time to last token", |one| [one.e2e_p50_ms, one.e2e_p90_ms, one.e2e_p99_ms, one.e2e_mean_ms]),
];

/// A logarithmic axis from x to x.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

/// The chart.
pub(in crate::report) fn quantiles(group: &Group) -> String {
    let lines = shown(group);
    let height = TOP + ROW * lines.len() as f64 + AXIS;
    let mut svg = open(height, "Times to first and to last token by rule");
    names(&mut svg, &lines);
    let width = (WIDTH - LEFT - RIGHT - GAP) / 2.0;
    for (number, (head, of)) in PANELS.into_iter().enumerate() {
        let from = LEFT + (width + GAP) * number as f64;
        let values = lines.iter().flat_map(|line| of(&line.figures)).filter(|ms| *ms > 0.0);
        let (low, high) =
            values.fold((f64::INFINITY, 0.0_f64), |(low, high), ms| (low.min(ms), high.max(ms)));
        if high > 0.0 {
            let axis = Axis { low: low / 1.15, high: high * 1.15, from, to: from + width };
            panel(&mut svg, head, &axis, &lines, of);
        }
    }
    svg + CLOSE
}

fn panel(svg: &mut String, head: &str, axis: &Axis, lines: &[&Line], of: Read) {
    let bottom = TOP + ROW * lines.len() as f64;
    let _ = writeln!(svg, "<text class=\"head\" x=\"{:.1}\" y=\"13\">{head}</text>", axis.from);
    for ms in axis.ticks() {
        let at = axis.x(ms);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom:.1}\"/>\
             <text class=\"tick small\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 15.0,
            label(ms)
        );
    }
    for (row, line) in lines.iter().enumerate() {
        let (y, class) = (middle(row), class(line.kind));
        let [p50, p90, p99, mean] = of(&line.figures).map(|ms| axis.x(ms.max(axis.low)));
        let _ = writeln!(
            svg,
            "<line class=\"range {class}\" x1=\"{p50:.1}\" y1=\"{y:.1}\" x2=\"{p99:.1}\" y2=\"{y:.1}\"/>\
             <line class=\"tip {class}\" x1=\"{p90:.1}\" y1=\"{:.1}\" x2=\"{p90:.1}\" y2=\"{:.1}\"/>\
             <line class=\"tip {class}\" x1=\"{p99:.1}\" y1=\"{:.1}\" x2=\"{p99:.1}\" y2=\"{:.1}\"/>\
             <circle class=\"{class}\" cx=\"{mean:.1}\" cy=\"{y:.1}\" r=\"4.5\"><title>mean {}</title></circle>",
            y - 4.0,
            y + 4.0,
            y - 6.0,
            y + 6.0,
            time_ms(of(&line.figures)[3])
        );
    }
}

fn label(ms: f64) -> String {
    if ms >= 1_000.0 { format!("{} s", ms / 1_000.0) } else { format!("{ms} ms") }
}

// === impl Axis ===

impl Axis {
    fn x(&self, ms: f64) -> f64 {
        self.from + (ms / self.low).ln() / (self.high / self.low).ln() * (self.to - self.from)
    }

    /// Round times within the axis, few enough for their labels.
    fn ticks(&self) -> Vec<f64> {
        let decades = (self.high / self.low).log10();
        let steps: &[f64] = if decades > 3.0 {
            &[1.0]
        } else if decades > 1.6 {
            &[1.0, 3.0]
        } else {
            &[1.0, 2.0, 5.0]
        };
        let all = (0..8).flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)));
        all.filter(|ms| *ms >= self.low && *ms <= self.high).collect()
    }
}
