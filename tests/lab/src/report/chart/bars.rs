//! The share of prompt tokens that were cached, an arm a bar; a mark shows what one endless cache would give.

use std::fmt::Write;

use warmpath_sim::page::percent;

use super::{CLOSE, LEFT, RIGHT, WIDTH, open};
use crate::measure::Summary;

const BAR: f64 = 26.0;
const STEP: f64 = 44.0;
const AXIS: f64 = 46.0;

/// The chart.
pub(in crate::report) fn bars(arms: &[Summary]) -> String {
    let height = STEP * arms.len() as f64 + AXIS;
    let mut svg = open(height, "Share of prompt tokens found in a cache, by arm");
    let x = |share: f64| LEFT + share * (WIDTH - LEFT - RIGHT);
    let bottom = height - AXIS;
    for quarter in 0..=4 {
        let at = x(f64::from(quarter) / 4.0);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" y1=\"0\" x2=\"{at:.1}\" y2=\"{bottom:.1}\"/>\
             <text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{} %</text>",
            bottom + 18.0,
            quarter * 25
        );
    }
    for (number, arm) in arms.iter().enumerate() {
        let top = STEP * number as f64 + (STEP - BAR) / 2.0;
        let (end, ideal) = (x(arm.cached_share), x(arm.ideal_cached_share));
        let middle = top + BAR / 2.0 + 4.0;
        let _ = writeln!(
            svg,
            "<text class=\"name\" x=\"{:.1}\" y=\"{middle:.1}\" text-anchor=\"end\">{}</text>\
             <rect class=\"arm {}\" x=\"{LEFT}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\"/>\
             <line class=\"mark\" x1=\"{ideal:.1}\" y1=\"{:.1}\" x2=\"{ideal:.1}\" y2=\"{:.1}\"/>",
            LEFT - 10.0,
            arm.name,
            arm.name,
            end - LEFT,
            top - 5.0,
            top + BAR + 5.0
        );
        // Inside the bar when it is long, so that the number never meets the mark.
        let (at, anchor, class) =
            if end - LEFT > 80.0 { (end - 8.0, "end", "inside") } else { (end + 8.0, "start", "value") };
        let _ = writeln!(
            svg,
            "<text class=\"{class}\" x=\"{at:.1}\" y=\"{middle:.1}\" text-anchor=\"{anchor}\">{}</text>",
            percent(arm.cached_share)
        );
    }
    if let Some(first) = arms.first() {
        let _ = writeln!(
            svg,
            "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">mark: one endless cache, {}</text>",
            WIDTH - 2.0,
            height - 2.0,
            percent(first.ideal_cached_share)
        );
    }
    svg + CLOSE
}
