//! What terminal and page show.

use super::group::Group;
use super::{Info, Report, ablation, calibration, overall, workload};
use warmpath_report::{Document, Goal, Role, Section, Verdict, percent};

/// The document.
pub(super) fn document(report: &Report) -> Document {
    let sections = [
        Some(goals(report)),
        overall::section(&report.overall),
        ablation::section(&report.groups),
        workloads(report),
        calibration::section(&report.ladders),
        Some(method(&report.info)),
    ];
    Document {
        title: "Other routing rules and Warmpath, on the same traces".to_owned(),
        lead: "Discrete events over the engine model of this repository. Warmpath is the code that ships, through its own \
               messages; the other rules are formulas, published but for two combinations made here, and see loads and \
               caches exactly and at once. Only the choice of the engine differs."
            .to_owned(),
        facts: facts(report),
        notes: Vec::new(),
        sections: sections.into_iter().flatten().collect(),
    }
}

/// The few numbers to remember.
fn facts(report: &Report) -> Vec<(String, String)> {
    let mean = |figure: &str, label: &str| {
        let goals = || report.goals.iter().filter(|goal| goal.name == figure);
        let sum: f64 = goals().map(|goal| goal.found.median.max(1e-9).ln()).sum();
        let count = goals().count();
        (count > 0).then(|| (format!("{:.2}x", (sum / count as f64).exp()), label.to_owned()))
    };
    let (met, all) = (count(&report.goals, Verdict::Met), report.goals.len());
    let lost: f64 = report.groups.iter().filter_map(Group::ours).map(|line| line.figures.lost).sum();
    let facts = [
        mean("mean TTFT", "mean TTFT over the best other rule's; above 1 is worse"),
        mean("mean E2E", "mean E2E, likewise"),
        (all > 0).then(|| (format!("{met} of {all}"), "of the project's own goals met".to_owned())),
        Some((format!("{lost:.0}"), "requests lost by us".to_owned())),
    ];
    facts.into_iter().flatten().collect()
}

fn count(goals: &[Goal], verdict: Verdict) -> usize {
    goals.iter().filter(|goal| goal.verdict() == verdict).count()
}

fn goals(report: &Report) -> Section {
    let goals = &report.goals;
    let [met, short, missed] =
        [Verdict::Met, Verdict::Short, Verdict::Missed].map(|verdict| count(goals, verdict));
    let notes = match report.info.requests_max {
        Some(requests) => vec![format!(
            "No goals are judged: they are for whole workloads, and these were cut to {requests} requests; of few requests, \
             figures mean nothing."
        )],
        None => vec![
            format!(
                "{met} met (\u{2713}), {short} short of the goal but not worse than allowed (~), {missed} missed (\u{2717}). A missed \
                 goal is a finding, and no failure of the run."
            ),
            "They are this project's own aims. Each holds warmpath against the best of the other rules in that one figure on \
             that one workload, where no single rule is the best in all; above 1 is worse. Bound: what engines with one \
             endless cache reach. Means: at most 0.9x, never above 1.02x; p99: at most 1.0x; several proxies on \
             streams that are late and break against one router for which nothing is late: at most 1.05x. Over fixed rules, where \
             requests can be split: at most 1.0x, never above 1.02x; mean E2E at mixed load at most 0.9x. Where requests may wait \
             for room: requests/s over the best rule that holds none, at 64 agents at least 1.15x for waits up to 120 s and 1.25x \
             up to 300 s; 0.99x and 1.01x where no gate is needed; several proxies at least 0.95 of one's gain; chats beside \
             agents at most 1.1x, and one tenant beside another at most 1.2x, of what they have alone on half of the engines."
                .to_owned(),
        ],
    };
    Section { title: "Goals".to_owned(), notes, goals: goals.clone(), ..Section::default() }
}

fn workloads(report: &Report) -> Option<Section> {
    let several = format!("warmpath-{}", report.info.proxies);
    let legend = [
        (Role::Other, "the other rules".to_owned()),
        (Role::Ours, "warmpath".to_owned()),
        (Role::Proxies, format!("{several}: proxies that learn of each other late")),
        (Role::Bound, "endless: engines that share one endless cache".to_owned()),
    ];
    let notes = [
        "\u{2191} higher is better, in all other columns lower is; best of the other rules and warmpath: bold, or * on the terminal; \
         \u{2013}: nothing was answered."
            .to_owned(),
        format!(
            "No contenders: {several}, proxies that learn of each other late; without-X, warmpath less the term X of its cost; \
             warmpath-held-S, warmpath whose requests may wait up to S seconds for room; \u{2020}, {several} less a term that only several proxies have; endless, the bound: engines that share one endless \
             cache; warmpath-roles, warmpath with the roles of the fixed rules."
        ),
        "Of bound: cached tokens over those of one endless cache. Lost: requests that no engine took or that did not end. \
         Most/mean: requests at the engine that has most over the mean of all; 1 is even. Ours / best other: warmpath over \
         the best of the other rules in that column, of each column on its own."
            .to_owned(),
    ];
    let mut parts: Vec<Section> = report.groups.iter().map(workload::section).collect();
    if let Some(first) = parts.first_mut() {
        first.is_folded = false;
    }
    (!parts.is_empty()).then(|| Section {
        title: "Workloads".to_owned(),
        notes: notes.into(),
        legend: legend.into(),
        parts,
        ..Section::default()
    })
}

/// How it was played, so that somebody else could.
fn method(info: &Info) -> Section {
    let seeds: Vec<String> = info.seeds.iter().map(u64::to_string).collect();
    let own = info.trace.as_ref().map_or_else(String::new, |trace| {
        format!(" Trace {}, speed {}, pool {}.", trace.path, trace.speed, trace.pool)
    });
    let notes = vec![
        format!(
            "Seeds {}; metrics every {} ms; {} proxies of {} workers, {} to {} ms from their controller, whose streams break \
             with {} of their messages; Warmpath {}.{own} Figures are means over the seeds; loads over time are of the first.",
            seeds.join(", "),
            info.scrape_ms,
            info.proxies,
            info.workers,
            info.delay_ms,
            info.delay_ms + info.jitter_ms,
            percent(info.break_share),
            info.warmpath_version,
        ),
        format!("One cell again: {}", info.again.join("; ")),
    ];
    Section { title: "How it was played".to_owned(), notes, is_for_page: true, ..Section::default() }
}
