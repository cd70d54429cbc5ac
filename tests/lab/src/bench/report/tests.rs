//! Made-up measurements, and what the report makes of them.

use super::{ABOUT_QUICK, Found, Info, Report};
use crate::bench::figure::burst::{Arrivals, BurstCase, BurstSamples};
use crate::bench::figure::chunk::ChunkCase;
use crate::bench::figure::cost::{CostCase, CostSamples, Latencies};
use crate::bench::figure::decision::DecisionCase;
use crate::bench::figure::feed::{Feed, ThreadShare};
use crate::bench::figure::view_memory::{Prompts, ViewMemory};
use crate::bench::figure::wasm::Wasm;
use crate::bench::target::Target;
use serde_json::json;
use std::collections::BTreeMap;

fn samples(cpu_us: [f64; 3], p50_us: f64) -> CostSamples {
    CostSamples {
        cpu_us: cpu_us.to_vec(),
        latencies: Latencies { p50_us: vec![p50_us; 3], p99_us: vec![2.0 * p50_us; 3] },
        memory_bytes: 80_000_000,
        requests: 300,
        ..CostSamples::default()
    }
}

/// We cost twice Envoy with its buffer filter, and 0.4 of the cheaper one of two peers. The machine is twice as slow in
/// the second repetition.
fn cost() -> CostCase {
    let ours = CostSamples {
        controller_cpu_us: vec![3.0, 3.0, 3.0],
        controller_memory_bytes: Some(10_000_000),
        ..samples([200.0, 400.0, 200.0], 300.0)
    };
    CostCase {
        body_bytes: 1 << 10,
        direct: Latencies { p50_us: vec![100.0; 3], p99_us: vec![150.0; 3] },
        targets: BTreeMap::from([
            (Target::Plain, samples([90.0, 180.0, 90.0], 200.0)),
            (Target::Buffer, samples([100.0, 200.0, 100.0], 210.0)),
            (Target::Warmpath, ours),
            (Target::VllmRouter, samples([900.0, 1_800.0, 900.0], 900.0)),
            (Target::Smg, samples([500.0, 1_000.0, 500.0], 400.0)),
        ]),
    }
}

fn chunk() -> ChunkCase {
    let targets = [(Target::Plain, 20.0), (Target::Warmpath, 20.5), (Target::Smg, 50.0)];
    let targets = targets.map(|(target, us)| (target, vec![us; 2]));
    ChunkCase { streams: 8, has_usage: true, targets: BTreeMap::from(targets) }
}

fn burst() -> BurstCase {
    let samples = |ttft_ms, cpu_us| BurstSamples {
        ttft_ms_p50: vec![ttft_ms],
        ttft_ms_p99: vec![2.0 * ttft_ms],
        cpu_us: vec![cpu_us],
        lost: 1,
        requests: 200,
    };
    BurstCase {
        arrivals: Arrivals::Spaced,
        direct: samples(2.0, 0.0),
        targets: BTreeMap::from([(Target::Warmpath, samples(5.0, 500.0))]),
    }
}

fn everything() -> Report {
    let mut report = Report::new(Info {
        repetitions: 3,
        connections: 1,
        cores: 2,
        targets: vec![Target::Plain, Target::Buffer, Target::Warmpath, Target::VllmRouter, Target::Smg],
        ..Info::default()
    });
    let size = |endpoints, us: f64| DecisionCase { endpoints, cells: 10_000, us: vec![us; 3] };
    let thread = |name: &str, fed| ThreadShare { thread: name.to_owned(), idle: 0.01, fed };
    for found in [
        Found::Cost(vec![cost()]),
        Found::Chunk(vec![chunk()]),
        Found::Burst(vec![burst()]),
        Found::Decision(vec![size(8, 2.0), size(1_000, 5.0)]),
        Found::ViewMemory(vec![ViewMemory {
            prompts: Prompts::Apart(16),
            cells: 2_000_000,
            bytes: 40_000_000,
        }]),
        Found::Feed(Feed {
            cells_per_s: 10_000.0,
            threads: vec![thread("wrk:worker_0", 0.05), thread("<main>", 0.02)],
            usable_ms: vec![1.0, 2.0],
        }),
        Found::Wasm(Wasm {
            bytes: 600_000,
            with_ms: vec![140.0],
            without_ms: vec![20.0],
            instance_ms: vec![2.0],
        }),
    ] {
        report.add(&found);
    }
    report
}

fn near(found: &serde_json::Value, expected: f64) {
    let found = found.as_f64().unwrap_or(f64::NAN);
    assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
}

#[test]
fn the_json_is_what_others_read() {
    let json = everything().to_json();
    let ours = &json["cost"][2];
    let expected = json!({
        "target": "warmpath", "body_bytes": 1_024, "cpu_us_per_request": 200.0,
        "cpu_us_per_request_spread": { "min": 200.0, "median": 200.0, "max": 400.0 },
        "controller_cpu_us_per_request": 3.0,
        "latency_us": { "p50": 300.0, "p99": 600.0 }, "added_latency_us": { "p50": 200.0, "p99": 450.0 },
        "memory_bytes": 80_000_000, "controller_memory_bytes": 10_000_000,
        "over_plain": 200.0 / 90.0, "over_buffer": 2.0, "over_cheapest_peer": 0.4, "requests": 300,
    });
    assert_eq!(ours, &expected, "{ours:#}");
    let reference = &json["cost_references"][0];
    near(&reference["llm_d_scaled_cpu_us_per_request"], 100.0 * 874.0 / 93.0);
    near(&reference["direct_latency_us"]["p50"], 100.0);
    assert_eq!((&json["chunk"][1]["target"], &json["chunk"][1]["streams"]), (&json!("warmpath"), &json!(8)));
    near(&json["chunk"][1]["cpu_us_per_chunk"], 20.5);
    near(&json["chunk"][1]["over_plain_us"], 0.5);
    assert_eq!(json["burst"][0]["cpu_us_per_request"], json!(null), "straight from the engine has none");
    near(&json["burst"][1]["added_ttft_ms_p50"], 3.0);
    near(&json["burst"][1]["requests_per_core_s"], 2_000.0);
    near(&json["decision"][1]["over_smallest"], 2.5);
    near(&json["view_memory"][0]["mb_per_million_cells"], 20.0);
    near(&json["feed"]["worker_share"], 0.04);
    near(&json["wasm"]["start_ms"]["median"], 120.0);
}

#[test]
fn every_goal_says_whether_it_is_met() {
    let json = everything().to_json();
    let goals = json["goals"].as_array().unwrap();
    let missed: Vec<_> = goals
        .iter()
        .filter(|goal| goal["is_met"] == false)
        .map(|goal| goal["name"].as_str().unwrap())
        .collect();
    let expected = [
        "processor time of a request, 1 KB, against llm-d, scaled",
        "decision, 1000 endpoints and 10000 cells against the smallest",
        "start of the first VM in Envoy, with compilation",
    ];
    assert_eq!(missed, expected);
    let peer = &goals[0];
    assert_eq!(peer["name"], "processor time of a request, 1 KB, against the cheapest peer (smg)");
    near(&peer["found"]["median"], 0.4);
    near(&peer["at_most"], 0.5);
    near(&goals[1]["found"]["median"], 2.0 * 93.0 / 874.0);
    assert_eq!(goals.len(), 13);
}

#[test]
fn the_page_needs_nothing_but_itself() {
    let page = everything().document().to_html();
    for outside in ["http:", "https:", "src=", "href=", "url(", "@import", "<script"] {
        assert!(!page.contains(outside), "{outside} leads outside");
    }
    assert!(page.contains("&lt;main&gt;"), "text from outside is escaped");
    assert_eq!(page.matches("<svg").count(), 2);
    assert!(!page.contains("NaN") && !page.contains("inf\""));
    assert!(page.contains("smg") && page.contains("1.13.0, cache_aware"));
}

#[test]
fn the_page_says_what_its_words_mean() {
    let page = everything().document().to_html();
    let own = page.split("<h2>A request").next().unwrap();
    for said in ["Envoy with its own buffer filter", "Shepherd Model Gateway", "llm-d's picker"] {
        assert!(own.contains(said), "{said}");
    }
    assert!(!own.contains("SGLang's router"), "who did not run needs no words");
    assert!(own.contains("no failure of the run"));
    assert!(page.contains("microseconds a request, logarithmic"));
    assert!(page.contains("(200\u{a0}to\u{a0}400)"), "a range does not break");
}

#[test]
fn a_quick_run_says_that_its_verdicts_are_rough() {
    let page = |is_quick| Report::new(Info { is_quick, ..Info::default() }).document().to_html();
    assert!(page(true).contains(ABOUT_QUICK) && !page(false).contains(ABOUT_QUICK));
}

#[test]
fn llm_d_is_in_the_charts_as_in_the_tables() {
    let page = everything().document().to_html();
    let charts: Vec<_> =
        page.split("<svg").skip(1).map(|rest| rest.split("</svg>").next().unwrap()).collect();
    assert_eq!(charts.len(), 2);
    assert!(charts.iter().all(|chart| chart.contains("llm-d, scaled")));
}

#[test]
fn the_headlines_are_found() {
    // Their goals are found by name: one that is renamed must not vanish from the page.
    let mut report = Report::new(Info::default());
    report.add(&Found::Cost(vec![CostCase { body_bytes: 8 << 10, ..cost() }]));
    report.add(&Found::Chunk(vec![ChunkCase { streams: 32, has_usage: false, ..chunk() }]));
    report.add(&Found::Feed(Feed { usable_ms: vec![1.0], ..Feed::default() }));
    let page = report.document().to_html();
    let facts = page.split("<dl class=\"facts\">").nth(1).unwrap().split("</dl>").next().unwrap();
    assert_eq!(
        facts.matches("<dd>").count(),
        5,
        "two for a request, one for a piece, the feed, goals met: {facts}"
    );
    assert!(facts.contains("processor time of a request") && facts.contains("cheapest peer"), "{facts}");
}

#[test]
fn without_peers_nothing_is_held_against_them() {
    let mut case = cost();
    case.targets.retain(|target, _| !target.is_peer());
    let mut report = Report::new(Info::default());
    report.add(&Found::Cost(vec![case]));
    let json = report.to_json();
    assert_eq!(json["goals"].as_array().map(Vec::len), Some(1), "{json:#}");
    assert_eq!(json["cost"][0]["over_cheapest_peer"], json!(null));
    report.document().to_html();
}

#[test]
fn a_table_is_aligned() {
    let text = Found::Chunk(vec![chunk()]).section().to_text();
    let lines: Vec<&str> =
        text.lines().filter(|line| line.contains("stream,") || line.contains("streams,")).collect();
    let ends: Vec<_> = lines.iter().take(3).map(|line| line.find("asked")).collect();
    assert!(ends.windows(2).all(|pair| pair[0].is_some() && pair[0] == pair[1]), "{text}");
}
