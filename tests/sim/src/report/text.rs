//! The tables on the terminal.

use std::fmt::Write;

use super::goals::Verdict;
use super::group::{Figures, Group, Line};
use super::overall::{FIGURES, Overall};
use super::{Report, ablation, joining};
use crate::calibrate::{Ladder, Point};

const NAME_WIDTH: usize = 19;

/// A column: its head, width, digits after the point, what it shows, whether less or more is better.
type Column = (&'static str, usize, usize, fn(&Figures) -> f64, Better);

#[derive(Clone, Copy, PartialEq)]
enum Better {
    Less,
    More,
    Neither,
}

/// The one column that says something of an arm without answers.
const LOST: &str = "lost";

const COLUMNS: [Column; 11] = [
    ("cached %\u{2191}", 9, 1, |one| one.cached_share * 100.0, Better::More),
    ("of bound\u{2191}", 9, 1, |one| one.part_of_bound * 100.0, Better::Neither),
    ("TTFT mean", 10, 0, |one| one.ttft_mean_ms, Better::Less),
    ("p50", 8, 0, |one| one.ttft_p50_ms, Better::Less),
    ("p90", 9, 0, |one| one.ttft_p90_ms, Better::Less),
    ("p99", 9, 0, |one| one.ttft_p99_ms, Better::Less),
    ("E2E mean", 9, 0, |one| one.e2e_mean_ms, Better::Less),
    ("p99", 9, 0, |one| one.e2e_p99_ms, Better::Less),
    ("out tok/s\u{2191}", 10, 0, |one| one.output_tokens_per_s, Better::More),
    (LOST, 5, 0, |one| one.lost, Better::Neither),
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
        legend(&mut text, report);
    }
    overall(&mut text, &report.overall);
    ablation::text(&mut text, &report.groups);
    for ladder in &report.ladders {
        calibration(&mut text, ladder);
    }
    goals(&mut text, report);
    text
}

/// What columns, marks and lines are.
fn legend(text: &mut String, report: &Report) {
    let proxies = report.info.proxies;
    let _ = writeln!(
        text,
        "times in ms; \u{2191} higher is better, in all others lower is; - nothing was answered\n  \
         *                  the best of the other rules and warmpath\n  \
         no contenders      warmpath-{proxies}: {proxies} proxies that hear of each other late; without-X: warmpath less \
         the term X of its cost; \u{2020}: warmpath-{proxies} less a term\n                     \
         that only several proxies have; endless, the bound: engines that share one endless cache\n  \
         of bound           cached tokens over those of one endless cache\n  \
         lost               requests that no engine took or that did not end\n  \
         imbal.             requests at the engine that has most over the mean of all; 1 is even\n  \
         ours / best other  warmpath over the best of the other rules in that column, of each column on its own\n"
    );
}

fn overall(text: &mut String, rules: &[Overall]) {
    if rules.is_empty() {
        return;
    }
    text.push_str("over all workloads: each rule over the best of all others, taken anew for each workload and figure; above 1 is worse;\ngeometric mean (worst). No rule has to be the best on all of them.\n");
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
    if let Some(losses) = group.losses() {
        let _ = writeln!(text, "  lost: {losses}");
    }
    text.push('\n');
}

fn row(text: &mut String, group: &Group, line: &Line) {
    let _ = write!(text, "  {:NAME_WIDTH$}", line.label());
    for (head, width, digits, of, better) in COLUMNS {
        let value = of(&line.figures);
        let all = group.contenders().map(|line| of(&line.figures));
        let best = match better {
            Better::Less => all.reduce(f64::min),
            Better::More => all.reduce(f64::max),
            Better::Neither => None,
        };
        let is_best = line.is_contender() && best.is_some_and(|best| value.total_cmp(&best).is_eq());
        if line.has_answers() || head == LOST {
            let _ = write!(text, "{value:>width$.digits$}{}", if is_best { '*' } else { ' ' });
        } else {
            let _ = write!(text, "{:>width$} ", '-');
        }
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
    let _ = writeln!(text, "calibration, {}: {};\n  {}", ladder.name, ladder.about, ladder.note);
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
            "  {:>6} {:>10} {:>10} {:>8} {:>12} {:>12} {:>8}",
            "rate", "published", "simulated", "error", "TTFT publ.", "simulated", "error"
        );
        for [rate, published, simulated, error, ttft, ttft_simulated, ttft_error] in
            arm.points.iter().map(Point::cells)
        {
            let _ = writeln!(
                text,
                "  {rate:>6} {published:>10} {simulated:>10} {error:>8} {ttft:>12} {ttft_simulated:>12} {ttft_error:>8}"
            );
        }
    }
    text.push('\n');
}

fn goals(text: &mut String, report: &Report) {
    let goals = &report.goals;
    if let Some(requests) = report.info.requests_max {
        let _ = writeln!(
            text,
            "no goals are judged: they are for whole workloads, and these were cut to {requests} requests; of few requests, \
             figures mean nothing"
        );
    }
    if goals.is_empty() {
        return;
    }
    let count = |verdict| goals.iter().filter(|goal| goal.verdict == verdict).count();
    let _ = writeln!(
        text,
        "goals: {} met (+), {} short of the goal but not worse than allowed (~), {} missed (-)\n  \
         They are this project's own aims. Each holds warmpath against the best of the other rules in that one figure on\n  \
         that one workload, where no single rule is the best in all; above 1 is worse. A missed goal is a finding, and no\n  \
         failure of the run. (bound: what engines with one endless cache reach)",
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
