//! The tables on the terminal.

use std::fmt::Write;

use super::goals::{Goal, Verdict};
use super::group::{Figures, Group, Line};
use super::overall::{FIGURES, Overall};
use super::{Report, ablation, joining};
use crate::calibrate::Ladder;
use crate::plan::Kind;

const NAME_WIDTH: usize = 19;

/// A column: its head, width, digits after the point, what it shows, whether less or more is better.
type Column = (&'static str, usize, usize, fn(&Figures) -> f64, Better);

#[derive(Clone, Copy, PartialEq)]
enum Better {
    Less,
    More,
    Neither,
}

const COLUMNS: [Column; 11] = [
    ("cached %", 9, 1, |one| one.cached_share * 100.0, Better::More),
    ("of bound", 9, 1, |one| one.part_of_bound * 100.0, Better::Neither),
    ("TTFT mean", 10, 0, |one| one.ttft_mean_ms, Better::Less),
    ("p50", 8, 0, |one| one.ttft_p50_ms, Better::Less),
    ("p90", 9, 0, |one| one.ttft_p90_ms, Better::Less),
    ("p99", 9, 0, |one| one.ttft_p99_ms, Better::Less),
    ("E2E mean", 9, 0, |one| one.e2e_mean_ms, Better::Less),
    ("p99", 9, 0, |one| one.e2e_p99_ms, Better::Less),
    ("out tok/s", 10, 0, |one| one.output_tokens_per_s, Better::More),
    ("lost", 5, 0, |one| one.lost, Better::Neither),
    ("imbal.", 7, 2, |one| one.imbalance, Better::Less),
];

/// Everything.
pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    for group in &report.groups {
        table(&mut text, group);
        joining::text(&mut text, group);
    }
    if !report.groups.is_empty() {
        text.push_str("times in ms; X\n\n");
    }
    overall(&mut text, &report.overall);
    ablation::text(&mut text, &report.groups);
    for ladder in &report.ladders {
        calibration(&mut text, ladder);
    }
    goals(&mut text, &report.goals);
    text
}

fn overall(text: &mut String, rules: &[Overall]) {
    if rules.is_empty() {
        return;
    }
    text.push_str("over all workloads: against the best of all other rules, geometric mean (worst)\n");
    let _ = write!(text, "  {:NAME_WIDTH$}", "");
    for (head, _) in FIGURES {
        let _ = write!(text, "{head:>20}");
    }
    text.push('\n');
    for rule in rules {
        let _ = write!(text, "  {:NAME_WIDTH$}", rule.rule);
        for behind in rule.behind {
            let _ = write!(text, "{:>20}", format!("{:.2}x ({:.2}x)", behind.mean, behind.worst));
        }
        text.push('\n');
    }
    text.push('\n');
}

fn table(text: &mut String, group: &Group) {
    let requests = group.lines.first().map_or(0.0, |line| line.figures.requests + line.figures.lost);
    let _ = writeln!(text, "{}: {} ({requests:.0} requests)", group.workload.name, group.workload.about);
    let _ = write!(text, "  {:NAME_WIDTH$}", "");
    for (head, width, ..) in COLUMNS {
        let _ = write!(text, "{head:>width$} ");
    }
    text.push('\n');
    for line in &group.lines {
        row(text, group, line);
    }
    let cells: Vec<String> = COLUMNS.iter().map(|column| ratio(group, column)).collect();
    if cells.iter().any(|cell| !cell.is_empty()) {
        let _ = write!(text, "  {:NAME_WIDTH$}", "ours / best other");
        for ((_, width, ..), cell) in COLUMNS.iter().zip(&cells) {
            let _ = write!(text, "{cell:>width$} ");
        }
        text.push('\n');
    }
    text.push('\n');
}

fn row(text: &mut String, group: &Group, line: &Line) {
    let _ = write!(text, "  {:NAME_WIDTH$}", line.rule);
    let is_contender = matches!(line.kind, Kind::Other | Kind::Ours);
    for (_, width, digits, of, better) in COLUMNS {
        let value = of(&line.figures);
        let all = group.contenders().map(|line| of(&line.figures));
        let best = match better {
            Better::Less => all.reduce(f64::min),
            Better::More => all.reduce(f64::max),
            Better::Neither => None,
        };
        let is_best = is_contender && best.is_some_and(|best| value.total_cmp(&best).is_eq());
        let _ = write!(text, "{value:>width$.digits$}{}", if is_best { '*' } else { ' ' });
    }
    let end = text.trim_end().len();
    text.truncate(end);
    text.push('\n');
}

/// Ours over the best other, where there is something to be better at.
fn ratio(group: &Group, (_, _, _, of, better): &Column) -> String {
    let Some(ours) = group.ours().map(|line| of(&line.figures)) else { return String::new() };
    let others = group.others().map(|line| of(&line.figures));
    let best = match better {
        Better::Less => others.reduce(f64::min),
        Better::More => others.reduce(f64::max),
        Better::Neither => None,
    };
    best.filter(|best| *best > 0.0).map_or_else(String::new, |best| format!("{:.2}x", ours / best))
}

fn calibration(text: &mut String, ladder: &Ladder) {
    let _ = writeln!(text, "calibration, {}: {}\n  {}", ladder.name, ladder.about, ladder.note);
    for arm in &ladder.arms {
        let ttft =
            arm.ttft_error_mean.zip(arm.ttft_difference_mean_s).map_or_else(String::new, |(error, s)| {
                format!("; TTFT mean below saturation {:.1} %, {:+.0} ms", error * 100.0, s * 1_000.0)
            });
        let _ = writeln!(
            text,
            "  {} against {}: output tokens/s mean error {:.1} %, bias {:+.1} %{ttft}",
            arm.rule,
            arm.published,
            arm.output_error_mean * 100.0,
            arm.output_bias * 100.0
        );
        let _ = writeln!(
            text,
            "  {:>6} {:>10} {:>10} {:>7} {:>12} {:>12} {:>7}",
            "rate", "published", "simulated", "error", "TTFT publ.", "simulated", "error"
        );
        for point in &arm.points {
            let (theirs, ours) = (&point.published, &point.simulated);
            let _ = writeln!(
                text,
                "  {:>6} {:>10.0} {:>10.0} {:>+6.1}% {:>10.2} s {:>10.2} s {:>+6.0}%",
                point.rate,
                theirs.output_tokens_per_s,
                ours.output_tokens_per_s,
                point.output_error * 100.0,
                theirs.ttft_mean_s,
                ours.ttft_mean_s,
                point.ttft_error * 100.0
            );
        }
    }
    text.push('\n');
}

fn goals(text: &mut String, goals: &[Goal]) {
    if goals.is_empty() {
        return;
    }
    let count = |verdict| goals.iter().filter(|goal| goal.verdict == verdict).count();
    let _ = writeln!(
        text,
        "goals: {} met (+), {} short of the goal but not worse than allowed (~), {} missed (-)",
        count(Verdict::Met),
        count(Verdict::Short),
        count(Verdict::Missed)
    );
    for goal in goals {
        let _ = writeln!(
            text,
            "  {} {:32} {:34} {:>9}  goal {:9} {}{}",
            goal.verdict.mark(),
            goal.workload,
            goal.figure,
            goal.shown(),
            goal.goal,
            goal.against.as_deref().map_or_else(String::new, |against| format!("against {against}")),
            goal.bound.map_or_else(String::new, |bound| format!(" (bound {bound:.2}x)"))
        );
    }
}
