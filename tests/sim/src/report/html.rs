//! `report.html`: one page that needs nothing but itself, to be sent around and read in ten years.

use std::fmt::Write;

use super::goals::Verdict;
use super::group::{Figures, Group, Line};
use super::overall::Overall;
use super::{Report, ablation, chart, joining, overall};
use crate::calibrate::Ladder;
use crate::page::{self, escape, fact, percent, time_ms};

const CSS: &str = include_str!("page.css");
const TITLE: &str = "Every published routing rule and Warmpath, on the same traces";

/// Columns of the matrix of goals: the figure, and its head.
const FIGURES: [(&str, &str); 5] = [
    ("mean TTFT", "mean TTFT"),
    ("mean E2E", "mean E2E"),
    ("p99 TTFT", "p99 TTFT"),
    ("several proxies, mean TTFT", "several proxies"),
    ("cached, part of bound", "of bound"),
];

/// Columns of a workload's table.
type Column = (&'static str, fn(&Figures) -> f64, fn(f64) -> String, fn(f64, f64) -> f64);

const COLUMNS: [Column; 10] = [
    ("cached", |one| one.cached_share, percent, f64::max),
    ("TTFT mean", |one| one.ttft_mean_ms, time_ms, f64::min),
    ("p50", |one| one.ttft_p50_ms, time_ms, f64::min),
    ("p90", |one| one.ttft_p90_ms, time_ms, f64::min),
    ("p99", |one| one.ttft_p99_ms, time_ms, f64::min),
    ("E2E mean", |one| one.e2e_mean_ms, time_ms, f64::min),
    ("p99", |one| one.e2e_p99_ms, time_ms, f64::min),
    ("tokens/s", |one| one.output_tokens_per_s, |value| format!("{value:.0}"), f64::max),
    ("lost", |one| one.lost, |value| format!("{value:.0}"), |_, _| f64::NAN),
    ("most/mean", |one| one.imbalance, |value| format!("{value:.2}"), f64::min),
];

/// The page.
pub(super) fn render(report: &Report) -> String {
    let mut body = page::open(TITLE, CSS);
    body.push_str(
        "<p class=\"soft\">Discrete events over the engine model of this repository. Warmpath is the code that ships, \
         through its own messages; the others are their published formulas, and see loads and caches exactly and at \
         once. Only the choice of the engine differs.</p>\n",
    );
    facts(&mut body, report);
    matrix(&mut body, report);
    other_goals(&mut body, report);
    overall(&mut body, &report.overall);
    ablation::html(&mut body, &report.groups);
    body.push_str("<h2>Workloads</h2>\n");
    legend(&mut body, report);
    for (number, group) in report.groups.iter().enumerate() {
        workload(&mut body, group, number == 0);
    }
    if !report.ladders.is_empty() {
        calibration(&mut body, &report.ladders);
    }
    method(&mut body, report);
    body + page::CLOSE
}

/// The few numbers to remember.
fn facts(page: &mut String, report: &Report) {
    let of = |figure: &str| {
        let found: Vec<f64> = report
            .goals
            .iter()
            .filter(|goal| goal.figure == figure)
            .map(|goal| goal.found.max(1e-9).ln())
            .collect();
        (!found.is_empty()).then(|| (found.iter().sum::<f64>() / found.len() as f64).exp())
    };
    page.push_str("<dl class=\"facts\">\n");
    if let Some(ratio) = of("mean TTFT") {
        fact(
            page,
            &format!("{ratio:.2}x"),
            "mean TTFT against the best other rule, geometric mean of workloads",
        );
    }
    if let Some(ratio) = of("mean E2E") {
        fact(page, &format!("{ratio:.2}x"), "mean E2E, likewise");
    }
    let met = report.goals.iter().filter(|goal| goal.verdict == Verdict::Met).count();
    fact(page, &format!("{met} of {}", report.goals.len()), "goals met");
    let lost: f64 = report.groups.iter().filter_map(Group::ours).map(|line| line.figures.lost).sum();
    fact(page, &format!("{lost:.0}"), "requests lost by us");
    page.push_str("</dl>\n");
}

/// Goals that all workloads have, a workload a row.
fn matrix(page: &mut String, report: &Report) {
    page.push_str(
        "<h2>Goals</h2>\n<p class=\"soft\">Ours over the best published rule for that figure, which is named; \
         behind it what engines with one endless cache reach. \
         <span class=\"met\">✓ met</span>, <span class=\"short\">~ short of the goal, but no worse than allowed</span>, \
         <span class=\"missed\">✗ missed</span>. Means: at most 0.9x, never above 1.02x; p99: at most 1.0x; several \
         proxies with late, lost and disordered messages against one that knows all at once: at most 1.05x.</p>\n\
         <div class=\"scroll\"><table class=\"wide\">\n<thead><tr><th></th>",
    );
    for (_, head) in FIGURES {
        let _ = write!(page, "<th>{head}</th>");
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for group in &report.groups {
        let _ = write!(page, "<tr><td class=\"name\">{}</td>", escape(&group.workload.name));
        for (figure, _) in FIGURES {
            let goal = report
                .goals
                .iter()
                .find(|goal| goal.workload == group.workload.name && goal.figure == figure);
            let cell = goal.map_or_else(String::new, |goal| {
                let against =
                    goal.against.as_deref().filter(|_| group.others().any(|line| goal.is_against(line)));
                let bound = goal.bound.map_or_else(String::new, |bound| format!(", bound {bound:.2}"));
                format!(
                    "<span class=\"{}\">{} {}</span><br><small>{}{bound}</small>",
                    goal.verdict.word(),
                    goal.shown(),
                    sign(goal.verdict),
                    escape(against.unwrap_or_default())
                )
            });
            let _ = write!(page, "<td>{cell}</td>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table></div>\n");
}

/// Goals of single workloads.
fn overall(page: &mut String, rules: &[Overall]) {
    if rules.is_empty() {
        return;
    }
    page.push_str(
        "<h2>Over all workloads</h2>\n<p class=\"soft\">Each rule against the best of all others on each workload: \
         geometric mean, and the worst. Who picks a rule has to live with it on all of them.</p>\n\
         <div class=\"scroll\"><table>\n<thead><tr><th></th>",
    );
    for (head, _) in overall::FIGURES {
        let _ = write!(page, "<th>{head}</th><th>worst</th>");
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for rule in rules {
        let _ = write!(page, "<tr><td>{}</td>", escape(&rule.rule));
        for behind in rule.behind {
            let _ = write!(page, "<td>{:.2}x</td><td>{:.2}x</td>", behind.mean, behind.worst);
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table></div>\n");
}

fn other_goals(page: &mut String, report: &Report) {
    let is_other = |figure: &str| !FIGURES.iter().any(|(name, _)| *name == figure);
    let others: Vec<_> = report.goals.iter().filter(|goal| is_other(goal.figure)).collect();
    if others.is_empty() {
        return;
    }
    page.push_str("<div class=\"scroll\"><table class=\"wide\">\n<tbody>\n");
    for goal in others {
        let _ = writeln!(
            page,
            "<tr><td class=\"name\">{}</td><td class=\"wrap\">{}</td><td><span class=\"{}\">{} {}</span></td>\
             <td><small>goal {}{}</small></td></tr>",
            escape(&goal.workload),
            goal.figure,
            goal.verdict.word(),
            goal.shown(),
            sign(goal.verdict),
            escape(&goal.goal),
            goal.against
                .as_deref()
                .map_or_else(String::new, |against| format!(" against {}", escape(against)))
        );
    }
    page.push_str("</tbody>\n</table></div>\n");
}

const fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Met => "✓",
        Verdict::Short => "~",
        Verdict::Missed => "✗",
    }
}

fn legend(page: &mut String, report: &Report) {
    let several = format!("warmpath-{}: proxies that tell each other late", report.info.proxies);
    let all = [
        ("other", "the other rules"),
        ("ours", "warmpath"),
        ("proxies", &several),
        ("bound", "endless: engines that share one endless cache"),
    ];
    page.push_str("<p class=\"legend soft\">");
    for (class, label) in all {
        let _ = write!(page, "<span><i class=\"{class}\"></i>{label}</span>");
    }
    page.push_str("</p>\n");
}

fn workload(page: &mut String, group: &Group, is_open: bool) {
    let ratio = |of| group.ratio(of).map_or_else(String::new, |ratio| format!("{ratio:.2}x"));
    let _ = writeln!(
        page,
        "<details{}><summary><b>{}</b> <span class=\"soft\">mean TTFT {}, mean E2E {} of the best other</span></summary>\n\
         <p>{}</p>",
        if is_open { " open" } else { "" },
        escape(&group.workload.name),
        ratio(|one| one.ttft_mean_ms),
        ratio(|one| one.e2e_mean_ms),
        escape(&group.workload.about)
    );
    page.push_str(
        "<h3>Times</h3>\n<p class=\"soft\">From the median to p99, a tick at p90, a dot at the mean; further left is \
         better; logarithmic.</p>\n",
    );
    page.push_str(&chart::quantiles(group));
    page.push_str(
        "<h3>Hits and regret</h3>\n<p class=\"soft\">The mark is what one endless cache would hold. Regret: how far \
         the mean is above that of engines that share such a cache. Shorter is better; very long bars are cut.</p>\n",
    );
    page.push_str(&chart::hits(group));
    page.push_str("<h3>Requests at the engine that has most, over time</h3>\n");
    page.push_str(&chart::spread(group));
    table(page, group);
    joining::html(page, group);
    page.push_str("</details>\n");
}

fn table(page: &mut String, group: &Group) {
    page.push_str("<h3>All numbers</h3>\n<div class=\"scroll\"><table class=\"wide\">\n<thead><tr><th></th>");
    for (head, ..) in COLUMNS {
        let _ = write!(page, "<th>{head}</th>");
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for line in &group.lines {
        let _ = write!(page, "<tr class=\"{}\"><td>{}</td>", chart::class(line.kind), escape(&line.rule));
        for (_, of, show, better) in COLUMNS {
            let best = group.contenders().map(|line| of(&line.figures)).reduce(better);
            let is_best = is_contender(group, line)
                && best.is_some_and(|best| of(&line.figures).total_cmp(&best).is_eq());
            let class = if is_best { " class=\"best\"" } else { "" };
            let _ = write!(page, "<td{class}>{}</td>", show(of(&line.figures)));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table></div>\n");
}

fn is_contender(group: &Group, line: &Line) -> bool {
    group.contenders().any(|other| other.rule == line.rule)
}

fn calibration(page: &mut String, ladders: &[Ladder]) {
    page.push_str(
        "<h2>The simulator against real clusters</h2>\n<p class=\"soft\">Published ladders of llm-d, played with the same \
         stages. Dots as published, lines as simulated. Output tokens/s count from a stage's first request to its last \
         answer's end. What does not fit is told and not tuned away.</p>\n",
    );
    for ladder in ladders {
        let _ = writeln!(
            page,
            "<h3>{}</h3>\n<p class=\"soft\">{}. {}.</p>",
            ladder.name, ladder.about, ladder.note
        );
        page.push_str(&chart::ladder(ladder));
        page.push_str(
            "<div class=\"scroll\"><table class=\"wide\">\n<thead><tr><th>arm</th><th>mean error of output tokens/s</th>\
             <th>bias</th><th>mean TTFT below saturation: error</th><th>difference</th></tr></thead>\n<tbody>\n",
        );
        for arm in &ladder.arms {
            let _ = writeln!(
                page,
                "<tr><td>{} against {}</td><td>{}</td><td>{:+.1} %</td><td>{}</td><td>{}</td></tr>",
                arm.rule,
                arm.published,
                percent(arm.output_error_mean),
                arm.output_bias * 100.0,
                arm.ttft_error_mean.map_or_else(String::new, percent),
                arm.ttft_difference_mean_s.map_or_else(String::new, |s| format!("{:+.0} ms", s * 1_000.0))
            );
        }
        page.push_str("</tbody>\n</table></div>\n");
    }
}

/// How it was played, so that somebody else could.
fn method(page: &mut String, report: &Report) {
    let info = &report.info;
    let seeds: Vec<String> = info.seeds.iter().map(u64::to_string).collect();
    let _ = write!(
        page,
        "<h2>How it was played</h2>\n<p>Seeds {}; metrics every {} ms; {} proxies with messages {} to {} ms late, of \
         which {} never arrive; Warmpath {}. One cell again: <code>./just sim --workloads X --rules Y --seeds \
         Z</code>. Figures are means over the seeds; loads over time are of the first.</p>\n",
        seeds.join(", "),
        info.scrape_ms,
        info.proxies,
        info.delay_ms,
        info.delay_ms + info.jitter_ms,
        percent(info.loss_share),
        info.warmpath_version
    );
}
