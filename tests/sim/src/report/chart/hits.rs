//! What was found cached beside what one endless cache holds, and what each arm's mean times are above those of
//! engines that share such a cache: the regret.

use std::fmt::Write;

use super::{LEFT, ROW, TOP, class, middle, names, shown};
use crate::page::svg::{CLOSE, WIDTH, open};
use crate::page::{percent, time_ms};
use crate::plan::Kind;
use crate::report::group::{Group, Line, Read};

const GAP: f64 = 26.0;
const RIGHT: f64 = 8.0;
const BAR: f64 = 12.0;
/// Room for the number behind a bar.
const NUMBER: f64 = 66.0;
/// A bar is cut where it would be so many times as long as the median one.
const LONGEST: f64 = 3.0;

/// A place for bars.
struct Panel {
    from: f64,
    width: f64,
}

/// The chart.
pub(in crate::report) fn hits(group: &Group) -> String {
    let lines = shown(group);
    let mut svg =
        open(TOP + ROW * lines.len() as f64 + 4.0, "Cached tokens, and times above the bound, by rule");
    names(&mut svg, &lines);
    let width = (WIDTH - LEFT - RIGHT - 2.0 * GAP) / 3.0;
    let panel = |number: f64| Panel { from: LEFT + (width + GAP) * number, width };
    cached(&mut svg, &panel(0.0), &lines);
    let regrets: [(&str, Read); 2] = [
        ("mean TTFT above the bound", |one| one.ttft_mean_ms),
        ("mean E2E above the bound", |one| one.e2e_mean_ms),
    ];
    if let Some(bound) = group.of(Kind::Bound) {
        for (number, (head, of)) in regrets.into_iter().enumerate() {
            regret(&mut svg, &panel(number as f64 + 1.0), &lines, head, of, of(&bound.figures));
        }
    }
    svg + CLOSE
}

fn cached(svg: &mut String, panel: &Panel, lines: &[&Line]) {
    panel.head(svg, "prompt tokens cached");
    let most = lines.iter().map(|line| line.figures.cached_share.max(line.figures.bound_cached_share));
    let most = most.fold(1e-9, f64::max);
    for (row, line) in lines.iter().enumerate() {
        let figures = &line.figures;
        let (found, bound) = (figures.cached_share / most, figures.bound_cached_share / most);
        panel.bar(svg, row, line.kind, found, found.max(bound), &percent(figures.cached_share));
        let mark = panel.from + bound * (panel.width - NUMBER);
        let y = middle(row);
        let _ = writeln!(
            svg,
            "<line class=\"mark\" x1=\"{mark:.1}\" y1=\"{:.1}\" x2=\"{mark:.1}\" y2=\"{:.1}\"/>",
            y - 8.0,
            y + 8.0
        );
    }
}

fn regret(svg: &mut String, panel: &Panel, lines: &[&Line], head: &str, of: Read, bound: f64) {
    panel.head(svg, head);
    let above = |line: &Line| (of(&line.figures) - bound).max(0.0);
    let mut sorted: Vec<f64> =
        lines.iter().filter(|line| line.kind != Kind::Bound).map(|line| above(line)).collect();
    sorted.sort_by(f64::total_cmp);
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
    let most = sorted.last().copied().unwrap_or_default().min(LONGEST * median).max(1e-9);
    for (row, line) in lines.iter().enumerate().filter(|(_, line)| line.kind != Kind::Bound) {
        let above = above(line);
        let part = (above / most).min(1.0);
        let number = format!("{}{}", if above > most { "… " } else { "" }, time_ms(above));
        panel.bar(svg, row, line.kind, part, part, &number);
    }
}

// === impl Panel ===

impl Panel {
    fn head(&self, svg: &mut String, head: &str) {
        let _ = writeln!(svg, "<text class=\"head\" x=\"{:.1}\" y=\"13\">{head}</text>", self.from);
    }

    /// A bar of a part of the width, and its number behind another part, where nothing is in its way.
    fn bar(&self, svg: &mut String, row: usize, kind: Kind, part: f64, free: f64, number: &str) {
        let room = self.width - NUMBER;
        let (y, width) = (middle(row), part * room);
        let _ = writeln!(
            svg,
            "<rect class=\"{}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"1.5\"/>\
             <text class=\"tick small\" x=\"{:.1}\" y=\"{:.1}\">{number}</text>",
            class(kind),
            self.from,
            y - BAR / 2.0,
            self.from + free * room + 8.0,
            y + 4.0
        );
    }
}
