//! A made-up comparison, and what reports make of it.

use super::{Info, Report, SplitLoad, WorkloadInfo};
use crate::arm::Kind;
use crate::calibrate::{ArmRun, Ladder, Measured, Point};
use crate::measure::{Phase, Quantiles, Spread, Summary};
use crate::mixture::Mixture;
use crate::sweep::{Cell, Swept};
use serde_json::{Value, json};
use warmpath_report::Verdict;

/// Times in a fixed proportion to their mean.
fn quantiles(mean: f64) -> Quantiles {
    Quantiles { p50: mean / 2.0, p90: mean * 2.0, p99: mean * 4.0, mean }
}

fn cell(rule: &str, kind: Kind, ttft_ms: f64, e2e_ms: f64) -> Cell {
    let summary = Summary {
        requests: 10,
        lost: 0,
        cached_share: 0.6,
        bound_cached_share: 0.8,
        split_share: 0.0,
        ttft_ms: quantiles(ttft_ms),
        e2e_ms: quantiles(e2e_ms),
        tpot_ms: quantiles(10.0),
        output_tokens_per_s: 50_000.0 / e2e_ms,
        preemptions: 0,
        imbalance: 1.5,
    };
    let spread = vec![Spread { at_s: 0.0, mean: 1.0, most: 2.0 }, Spread { at_s: 5.0, mean: 2.0, most: 3.0 }];
    Cell {
        closed: None,
        workload: "<a & b>".to_owned(),
        rule: rule.to_owned(),
        seed: 7,
        summary,
        phases: Vec::new(),
        kind,
        too_long: 0,
        spread,
    }
}

fn info() -> Info {
    let workload = WorkloadInfo {
        is_held: false,
        name: "<a & b>".to_owned(),
        about: "made up".to_owned(),
        has_ample_cache: true,
        ladder_rate: Some(60.0),
        split: None,
    };
    Info {
        warmpath_version: "1.2.3",
        seeds: vec![7],
        requests_max: None,
        scrape_ms: 200.0,
        proxies: 4,
        delay_ms: 10.0,
        workers: 2,
        jitter_ms: 5.0,
        break_share: 0.001,
        reports_ms: 5.0,
        lost_reports: 0.0,
        controller_restarts_s: None,
        vm_rebuilds_s: None,
        mixture: Mixture::default(),
        trace: None,
        again: Vec::new(),
        workloads: vec![workload],
    }
}

fn report(cells: Vec<Cell>, ladders: Vec<Ladder>) -> Report {
    Report::new(info(), Swept { cells, ladders })
}

/// Two other rules, each best at one thing; ours is better at TTFT and a little worse at E2E.
fn sample() -> Report {
    let cells = vec![
        cell("round-robin", Kind::Other, 400.0, 1_000.0),
        cell("lmetric", Kind::Other, 200.0, 1_100.0),
        cell("warmpath", Kind::Ours, 100.0, 1_010.0),
        cell("warmpath-4", Kind::Proxies, 120.0, 1_010.0),
        cell("without-queue", Kind::Ablation, 150.0, 2_020.0),
        cell("without-contention", Kind::ProxiesAblation, 180.0, 2_020.0),
        cell("endless", Kind::Bound, 80.0, 900.0),
    ];
    let measured = |output_tokens_per_s| Measured { output_tokens_per_s, ttft_mean_s: 0.5, ttft_p90_s: 1.0 };
    let point = Point {
        rate: 3.0,
        published: measured(100.0),
        simulated: measured(108.0),
        output_error: 0.08,
        ttft_error: 0.0,
    };
    let arm = ArmRun {
        published: "random-scheduling",
        rule: "round-robin",
        points: vec![point],
        output_error_mean: 0.08,
        ttft_error_mean: None,
        ttft_difference_mean_s: None,
        output_bias: 0.08,
    };
    let ladder = Ladder { name: "ladder", about: "a cluster", slower: 1.4, note: "old", arms: vec![arm] };
    report(cells, vec![ladder])
}

#[test]
fn the_json_is_what_others_read() {
    let found: Value = serde_json::from_str(&sample().to_json().unwrap()).unwrap();
    let expected = json!({
        "workload": "<a & b>", "rule": "warmpath", "seed": 7, "requests": 10, "lost": 0,
        "cached_share": 0.6, "bound_cached_share": 0.8, "part_of_bound": 0.6 / 0.8,
        "split_share": 0.0,
        "ttft_ms": { "mean": 100.0, "p50": 50.0, "p90": 200.0, "p99": 400.0 },
        "e2e_ms": { "mean": 1010.0, "p50": 505.0, "p90": 2020.0, "p99": 4040.0 },
        "tpot_ms": { "mean": 10.0, "p50": 5.0, "p90": 20.0, "p99": 40.0 },
        "output_tokens_per_s": 50_000.0 / 1_010.0, "preemptions": 0, "imbalance": 1.5,
        "regret_ms": { "ttft_mean": 20.0, "e2e_mean": 110.0 },
    });
    assert_eq!(found["cells"][2], expected, "{:#}", found["cells"][2]);
    assert_eq!(found["cells"].as_array().unwrap().len(), 7);
    let ablation = &found["ablations"][0];
    assert_eq!((&ablation["without"], &ablation["ttft_mean_ratio"]), (&json!("queue"), &json!(1.5)));
    let ablation = &found["ablations"][1];
    assert_eq!((&ablation["without"], &ablation["ttft_mean_ratio"]), (&json!("contention"), &json!(1.5)));
    assert_eq!(found["calibration"][0]["arms"][0]["points"][0]["output_error"], json!(0.08));
    assert_eq!(found["run"]["seeds"], json!([7]));
}

#[test]
fn each_goal_is_against_the_best_other_for_that_figure() {
    let report = sample();
    let verdict = |figure: &str| {
        let goal = report.goals().iter().find(|goal| goal.name == figure).unwrap();
        (goal.against.as_deref(), goal.shown(), goal.verdict())
    };
    assert_eq!(verdict("mean TTFT"), (Some("lmetric"), "0.50x".to_owned(), Verdict::Met));
    assert_eq!(verdict("mean E2E"), (Some("round-robin"), "1.01x".to_owned(), Verdict::Short));
    assert_eq!(verdict("p99 TTFT"), (Some("lmetric"), "0.50x".to_owned(), Verdict::Met));
    assert_eq!(
        verdict("several proxies, mean TTFT"),
        (Some("one proxy"), "1.20x".to_owned(), Verdict::Missed)
    );
    assert_eq!(verdict("cached, part of bound").2, Verdict::Missed);
    assert_eq!(verdict("p90 TTFT"), (None, "200 ms".to_owned(), Verdict::Met));
    assert_eq!(verdict("output tokens/s"), (Some("round-robin"), "0.99x".to_owned(), Verdict::Missed));
    assert_eq!(verdict("simulator's error, output tokens/s").2, Verdict::Met);
    let bound = report.goals().iter().find(|goal| goal.name == "mean E2E").unwrap().bound;
    assert!((bound.unwrap() - 0.9).abs() < 1e-12, "{bound:?}");
}

#[test]
fn a_goal_that_is_missed_by_little_does_not_look_met() {
    let cells =
        vec![cell("lmetric", Kind::Other, 1_000.0, 1_000.0), cell("warmpath", Kind::Ours, 1_003.0, 899.96)];
    let report = report(cells, Vec::new());
    let shown = |figure: &str| {
        let goal = report.goals().iter().find(|goal| goal.name == figure).unwrap();
        (goal.shown(), goal.verdict())
    };
    assert_eq!(shown("p99 TTFT"), ("1.003x".to_owned(), Verdict::Missed));
    assert_eq!(shown("mean E2E"), ("0.90x".to_owned(), Verdict::Met));
    assert_eq!(shown("cached, part of bound"), ("75.0 %".to_owned(), Verdict::Missed));
}

#[test]
fn a_rule_that_lost_everything_is_not_the_best() {
    let mut lost = cell("lmetric", Kind::Other, 0.0, 0.0);
    (lost.summary.requests, lost.summary.lost, lost.too_long) = (0, 10, 10);
    let mut ours = lost.clone();
    (ours.rule, ours.kind) = ("warmpath".to_owned(), Kind::Ours);
    let with =
        |ours| report(vec![cell("round-robin", Kind::Other, 400.0, 1_000.0), lost.clone(), ours], Vec::new());
    let report = with(cell("warmpath", Kind::Ours, 100.0, 1_010.0));
    let goal = report.goals().iter().find(|goal| goal.name == "mean TTFT").unwrap();
    assert_eq!((goal.against.as_deref(), goal.shown()), (Some("round-robin"), "0.25x".to_owned()));
    let text = report.document().to_text();
    assert!(!text.contains("*0") && text.contains("lost: lmetric 10; prompts that"), "{text}");
    assert!(with(ours).goals().is_empty(), "nothing was reached where nothing was answered");
}

#[test]
fn where_requests_can_be_split_ours_is_held_against_the_best_of_the_others_in_each_time() {
    let goals = |load| {
        let mut info = info();
        info.workloads[0].split = Some(load);
        let cells =
            vec![cell("never", Kind::Other, 100.0, 900.0), cell("warmpath", Kind::Ours, 101.0, 855.0)];
        let report = Report::new(info, Swept { cells, ladders: Vec::new() });
        assert!(report.overall.is_empty(), "these are no rules for whole requests");
        let text = report.document().to_text();
        assert!(text.contains("TPOT mean") && text.contains("split"), "{text}");
        report.goals().iter().map(|goal| (goal.shown(), goal.verdict())).collect::<Vec<_>>()
    };
    let [ttft, tpot] = [("1.01x", Verdict::Short), ("1.00x", Verdict::Met)];
    let found = |e2e| [ttft, tpot, ("0.95x", e2e)].map(|(shown, verdict)| (shown.to_owned(), verdict));
    assert_eq!(goals(SplitLoad::Plain), found(Verdict::Met));
    assert_eq!(goals(SplitLoad::Mixed), found(Verdict::Short));
}

#[test]
fn workloads_that_were_cut_are_not_judged() {
    let mut info = info();
    info.requests_max = Some(600);
    let cells = vec![cell("lmetric", Kind::Other, 2.0, 2.0), cell("warmpath", Kind::Ours, 1.0, 1.0)];
    let report = Report::new(info, Swept { cells, ladders: Vec::new() });
    assert!(report.goals().is_empty());
    assert!(
        report.document().to_text().contains("No goals are judged")
            && report.document().to_html().contains("No goals are judged")
    );
}

#[test]
fn parts_without_requests_are_no_columns() {
    let phase = |name, requests| Phase {
        name,
        requests,
        ttft_ms: quantiles(1.0),
        cached_share: 0.0,
        joined_share: 0.0,
    };
    let text = |later: usize| {
        let mut cell = cell("warmpath", Kind::Ours, 1.0, 2.0);
        cell.phases = vec![phase("before", 5), phase("minute", later), phase("much later", 0)];
        let report = report(vec![cell], Vec::new());
        assert!(!report.document().to_html().contains("much later"));
        report.document().to_text()
    };
    assert!(text(3).contains("minute (3 requests)") && !text(3).contains("much later"));
    assert!(text(0).contains("no request came after") && !text(0).contains("before (5"));
}

#[test]
fn the_page_needs_nothing_but_itself() {
    let page = sample().document().to_html();
    for outside in ["http:", "https:", "src=", "href=", "url(", "@import", "<script"] {
        assert!(!page.contains(outside), "{outside} leads outside");
    }
    assert!(page.contains("prefers-color-scheme: dark"));
    assert!(page.contains("&lt;a &amp; b&gt;") && !page.contains("<a & b>"), "text from outside is escaped");
    assert_eq!(page.matches("<svg").count(), 4, "three of the workload, one of the ladder");
    assert!(!page.contains("NaN") && !page.contains("inf\""));
}

#[test]
fn a_comparison_of_one_arm_or_none_is_still_a_report() {
    for cells in
        [vec![], vec![cell("lmetric", Kind::Other, 0.0, 0.0)], vec![cell("warmpath", Kind::Ours, 1.0, 2.0)]]
    {
        let report = report(cells, Vec::new());
        assert!(!report.document().to_html().contains("NaN"));
        report.to_json().unwrap();
        report.document().to_text();
    }
}

#[test]
fn the_table_marks_the_best_and_tells_our_ratio() {
    let text = sample().document().to_text();
    for part in ["*100 ms", "*1000 ms", "0.50x", "1.01x", "ours / best other", "~ short", "random-scheduling"]
    {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    assert!(
        text.contains("mean E2E, without") && text.contains("2.00x"),
        "what a term earns is missing\n{text}"
    );
    assert!(!text.contains("*80 ms"), "the bound is no contender\n{text}");
}

#[test]
fn figures_are_means_over_the_seeds() {
    let mut other = cell("warmpath", Kind::Ours, 300.0, 1_000.0);
    other.seed = 8;
    let report = report(vec![cell("warmpath", Kind::Ours, 100.0, 1_000.0), other], Vec::new());
    assert_eq!(report.groups[0].lines.len(), 1);
    assert!((report.groups[0].lines[0].figures.ttft_mean_ms - 200.0).abs() < 1e-9);
}

#[test]
fn rules_are_held_against_the_best_of_all_others() {
    let report = sample();
    let behind = |rule: &str| {
        let found = report.overall.iter().find(|overall| overall.rule == rule).unwrap();
        found.behind.map(|behind| format!("{:.2}", behind.mean))
    };
    // First-token mean, end-to-end mean, first-token p99; one workload, so mean and worst are the same.
    assert_eq!(behind("lmetric"), ["2.00", "1.10", "2.00"]);
    assert_eq!(behind("warmpath"), ["0.50", "1.01", "0.50"]);
    assert_eq!(report.overall.len(), 3, "neither several proxies nor ablations nor the bound are rules");
}
