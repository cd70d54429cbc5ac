//! `report.html`: one page that needs nothing but itself, to be sent around and read in ten years.

use std::fmt::Write;

use super::goals::Verdict;
use super::group::{Figures, Group};
use super::overall::Overall;
use super::{Report, ablation, chart, joining, overall};
use crate::calibrate::Ladder;
use crate::page::{self, escape, fact, percent, time_ms};

const CSS: &str = include_str!("page.css");
const TITLE: &str = "Other routing rules and Warmpath, on the same traces";

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

/// The one column that says something of an arm without answers.
const LOST: &str = "lost";

const COLUMNS: [Column; 10] = [
    ("cached \u{2191}", |one| one.cached_share, percent, f64::max),
    ("TTFT mean", |one| one.ttft_mean_ms, time_ms, f64::min),
    ("p50", |one| one.ttft_p50_ms, time_ms, f64::min),
    ("p90", |one| one.ttft_p90_ms, time_ms, f64::min),
    ("p99", |one| one.ttft_p99_ms, time_ms, f64::min),
    ("E2E mean", |one| one.e2e_mean_ms, time_ms, f64::min),
    ("p99", |one| one.e2e_p99_ms, time_ms, f64::min),
    ("tokens/s \u{2191}", |one| one.output_tokens_per_s, |value| format!("{value:.0}"), f64::max),
    (LOST, |one| one.lost, |value| format!("{value:.0}"), |_, _| f64::NAN),
    ("most/mean", |one| one.imbalance, |value| format!("{value:.2}"), f64::min),
];

/// The page.
pub(super) fn render(report: &Report) -> String {
    let mut body = page::open(TITLE, CSS);
    body.push_str(
        "<p class=\"soft\">Discrete events over the engine model of this repository. Warmpath is the code that ships, \
         through its own messages; the other rules are formulas, published but for two \
         combinations made here, and see loads and caches exactly and at \
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
        fact(page, &format!("{ratio:.2}x"), "mean TTFT over the best other rule's; above 1 is worse");
    }
    if let Some(ratio) = of("mean E2E") {
        fact(page, &format!("{ratio:.2}x"), "mean E2E, likewise");
    }
    let met = report.goals.iter().filter(|goal| goal.verdict == Verdict::Met).count();
    if !report.goals.is_empty() {
        fact(page, &format!("{met} of {}", report.goals.len()), "of the project's own goals met");
    }
    let lost: f64 = report.groups.iter().filter_map(Group::ours).map(|line| line.figures.lost).sum();
    fact(page, &format!("{lost:.0}"), "requests lost by us");
    page.push_str("</dl>\n");
    if let Some(requests) = report.info.requests_max {
        let _ = writeln!(
            page,
            "<p>No goals are judged: they are for whole workloads, and these were cut to {requests} requests; of few \
             requests, figures mean nothing.</p>"
        );
    } else {
        page.push_str(
            "<p class=\"soft\">Ratios are geometric means over the workloads, against the best of the other rules for each \
             workload and figure on its own: no single rule is the best in all of them. A missed goal is a finding, and \
             no failure of the run.</p>\n",
        );
    }
}

/// Goals that all workloads have, a workload a row.
fn matrix(page: &mut String, report: &Report) {
    if report.goals.is_empty() {
        return;
    }
    page.push_str(
        "<h2>Goals</h2>\n<p class=\"soft\">The project's own aims. Ours over the best other rule for that figure, which is named: \
         above 1 is worse; \
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

/// Each rule over all workloads.
fn overall(page: &mut String, rules: &[Overall]) {
    if rules.is_empty() {
        return;
    }
    page.push_str(
        "<h2>Over all workloads</h2>\n<p class=\"soft\">Each rule against the best of all others, taken anew for each workload \
         and figure: geometric mean, and the worst; above 1 is worse. Who picks a rule has to live with it on all of them.</p>\n\
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

/// Goals of single workloads.
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
    let _ = writeln!(
        page,
        "</p>\n<p class=\"soft\">In tables: \u{2191} higher is better, in all other columns lower is; bold: the best of the other \
         rules and warmpath. No contenders: warmpath-{proxies}; without-X, warmpath less the term X of its cost; \u{2020} \
         warmpath-{proxies} less a term that only several proxies have; endless, the bound. Lost: requests that no engine \
         took or that did not end. Most/mean: requests at the engine that has most over the mean of all; 1 is even. \u{2013}: \
         nothing was answered.</p>",
        proxies = report.info.proxies
    );
}

fn workload(page: &mut String, group: &Group, is_open: bool) {
    let ratio = |of| group.ratio(of).map_or_else(String::new, |ratio| format!("{ratio:.2}x"));
    let _ = writeln!(
        page,
        "<details{}><summary><b>{}</b> <span class=\"soft\">mean TTFT {}, mean E2E {} of the best other rule for each</span></summary>\n\
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
        let _ = write!(page, "<tr class=\"{}\"><td>{}</td>", chart::class(line.kind), escape(&line.label()));
        for (head, of, show, better) in COLUMNS {
            let best = group.contenders().map(|line| of(&line.figures)).reduce(better);
            let is_best =
                line.is_contender() && best.is_some_and(|best| of(&line.figures).total_cmp(&best).is_eq());
            let class = if is_best { " class=\"best\"" } else { "" };
            let is_told = line.has_answers() || head == LOST;
            let shown = if is_told { show(of(&line.figures)) } else { "\u{2013}".to_owned() };
            let _ = write!(page, "<td{class}>{shown}</td>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table></div>\n");
    if let Some(losses) = group.losses() {
        let _ = writeln!(page, "<p class=\"soft\">Lost: {}.</p>", escape(&losses));
    }
}

fn calibration(page: &mut String, ladders: &[Ladder]) {
    page.push_str(
        "<h2>The simulator against real clusters</h2>\n<p class=\"soft\">Published ladders of llm-d, played with the same \
         stages. Dots as published, lines as simulated; where two \
         lines stand for the same published arm, its dots have both colours. Output tokens/s count from a stage's first request to its last \
         answer's end. What does not fit is told and not tuned away.</p>\n",
    );
    for ladder in ladders {
        let _ = writeln!(
            page,
            "<h3>{}</h3>\n<p class=\"soft\">{}; {}.</p>",
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
        points(page, ladder);
    }
}

/// Every point of a ladder, folded.
fn points(page: &mut String, ladder: &Ladder) {
    page.push_str(
        "<details><summary>Every point</summary>\n<div class=\"scroll\"><table class=\"wide\">\n<thead><tr><th>arm</th>\
         <th>requests/s</th><th>output tokens/s, published</th><th>simulated</th><th>error</th><th>mean TTFT, published</th>\
         <th>simulated</th><th>error</th></tr></thead>\n<tbody>\n",
    );
    for arm in &ladder.arms {
        for point in &arm.points {
            let cells = point.cells().join("</td><td>");
            let _ =
                writeln!(page, "<tr><td>{} against {}</td><td>{cells}</td></tr>", arm.rule, arm.published);
        }
    }
    page.push_str("</tbody>\n</table></div>\n</details>\n");
}

/// How it was played, so that somebody else could.
fn method(page: &mut String, report: &Report) {
    let info = &report.info;
    let seeds: Vec<String> = info.seeds.iter().map(u64::to_string).collect();
    let own = info.trace.as_ref().map_or_else(String::new, |trace| {
        format!(" Trace {}, speed {}, pool {}.", escape(&trace.path), trace.speed, trace.pool)
    });
    let again: Vec<String> =
        info.again.iter().map(|command| format!("<code>{}</code>", escape(command))).collect();
    let _ = write!(
        page,
        "<h2>How it was played</h2>\n<p>Seeds {}; metrics every {} ms; {} proxies with messages {} to {} ms late, of \
         which {} never arrive; Warmpath {}.{own} One cell again: {}. Figures are means over the seeds; loads over time are of the first.</p>\n",
        seeds.join(", "),
        info.scrape_ms,
        info.proxies,
        info.delay_ms,
        info.delay_ms + info.jitter_ms,
        percent(info.loss_share),
        info.warmpath_version,
        again.join(", ")
    );
}
