//! Ranges on a logarithmic axis, a row a target, a block a case: the targets differ by factors, and their repetitions
//! by little.

use std::fmt::Write;

use crate::report::chart::{CLOSE, LEFT, RIGHT, WIDTH, open};
use crate::report::page::escape;

use super::llm_d;
use crate::bench::spread::{Spread, show};
use crate::bench::target::Target;

const ROW: f64 = 22.0;
const HEAD: f64 = 26.0;
/// Room below for the axis: its numbers, and their unit.
const AXIS: f64 = 46.0;

/// Room for a value right of its mark.
const VALUE: f64 = 46.0;

/// Half of a mark's height, and the least that a range is wide: of equal repetitions, too, something is to be seen.
const MARK: f64 = 6.0;
const RANGE_MIN: f64 = 4.0;

/// One block.
pub(super) struct Group {
    /// What its rows have in common.
    pub(super) label: String,
    /// A row each.
    pub(super) ranges: Vec<Range>,
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    name: &'static str,
    colour: &'static str,
    spread: Spread,
}

impl Range {
    /// A target that was measured.
    pub(super) fn measured(target: Target, spread: Spread) -> Self {
        Self { name: target.name(), colour: colour(target), spread }
    }

    /// llm-d, as it would be on this machine.
    pub(super) fn llm_d(spread: Spread) -> Self {
        Self { name: llm_d::NAME, colour: COMPETES, spread }
    }
}

/// The chart; empty where there is nothing to show. `unit` stands below the axis.
pub(super) fn ranges(title: &str, unit: &str, groups: &[Group]) -> String {
    let values = || groups.iter().flat_map(|group| &group.ranges).map(|range| range.spread);
    let values = || values().filter(|spread| spread.min > 0.0);
    let from = values().map(|spread| spread.min).fold(f64::INFINITY, f64::min).log10().floor();
    let to = values().map(|spread| spread.max).fold(0.0, f64::max).log10().ceil().max(from + 1.0);
    if !from.is_finite() || !to.is_finite() {
        return String::new();
    }
    let rows: usize = groups.iter().map(|group| group.ranges.len()).sum();
    let bottom = ROW * rows as f64 + HEAD * groups.len() as f64;
    let mut svg = open(bottom + AXIS, &escape(title));
    let x = |value: f64| LEFT + (value.log10() - from) / (to - from) * (WIDTH - LEFT - RIGHT - VALUE);
    axis(&mut svg, from as i32, to as i32, bottom, &x);
    let _ = writeln!(
        svg,
        "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}, logarithmic; further left is \
         cheaper</text>",
        f64::midpoint(x(10_f64.powf(from)), x(10_f64.powf(to))),
        bottom + 36.0,
        escape(unit)
    );
    let mut top = 0.0;
    for group in groups {
        let label = escape(&group.label);
        let _ = writeln!(svg, "<text class=\"tick\" x=\"0\" y=\"{:.1}\">{label}</text>", top + HEAD - 8.0);
        top += HEAD;
        for range in &group.ranges {
            if range.spread.min > 0.0 {
                row(&mut svg, top + ROW / 2.0, *range, &x);
            }
            top += ROW;
        }
    }
    svg + CLOSE
}

fn axis(svg: &mut String, from: i32, to: i32, bottom: f64, x: &impl Fn(f64) -> f64) {
    for decade in from..=to {
        for step in [1.0, 2.0, 5.0] {
            let value = step * 10_f64.powi(decade);
            if value.log10() > f64::from(to) {
                continue;
            }
            let at = x(value);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{at:.1}\" y1=\"0\" x2=\"{at:.1}\" y2=\"{bottom:.1}\"/>\
                 <text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{value}</text>",
                bottom + 18.0
            );
        }
    }
}

fn row(svg: &mut String, middle: f64, range: Range, x: &impl Fn(f64) -> f64) {
    let Range { name, colour, spread } = range;
    let (left, right, median) = (x(spread.min), x(spread.max), x(spread.median));
    let width = (right - left).max(RANGE_MIN);
    let _ = writeln!(
        svg,
        "<text class=\"name\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>\
         <rect class=\"arm {colour}\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\" rx=\"2\"/>\
         <line class=\"mark\" x1=\"{median:.1}\" y1=\"{:.1}\" x2=\"{median:.1}\" y2=\"{:.1}\"/>\
         <text class=\"value\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
        LEFT - 10.0,
        middle + 4.0,
        middle - MARK,
        2.0 * MARK,
        middle - MARK - 2.0,
        middle + MARK + 2.0,
        left + width + 6.0,
        middle + 4.0,
        show(spread.median)
    );
}

/// The colour of what competes.
const COMPETES: &str = "least-request";

/// The page's three colours are named after the demo's arms: what is there already, what competes, and ours.
fn colour(target: Target) -> &'static str {
    match target {
        Target::Plain | Target::Buffer => "round-robin",
        Target::SglangRouter | Target::VllmRouter | Target::Smg => COMPETES,
        Target::Warmpath => "warmpath",
    }
}
