//! A made-up comparison, and what reports make of it.

use super::{Kind, Report, RunInfo};
use crate::arm::Arm;
use crate::client::Lost;
use crate::measure::{Answered, ArmRun, Call};
use http::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Round-robin with one lost request, and Warmpath: four times as fast with twice the hits.
fn sample() -> Report {
    let call = |number: u32, ttft_ms: f64, cached_tokens| {
        let answer = Answered {
            engine: Some(number as usize % 2),
            ttft_ms,
            e2e_ms: 1_000.0,
            prompt_tokens: 100,
            cached_tokens,
            output_tokens: 20,
        };
        let at_ms = f64::from(number) * 1_000.0;
        Call { at_ms, late_ms: 2.0, ideal_cached_tokens: 90, has_image: false, outcome: Ok(answer) }
    };
    let lost = Call { outcome: Err(Lost::Status(StatusCode::BAD_GATEWAY)), ..call(1, 0.0, 0) };
    let plain = ArmRun::whole(Arm::RoundRobin, vec![call(0, 400.0, 40), lost]);
    let ours = ArmRun::whole(Arm::Warmpath, vec![call(0, 100.0, 80), call(1, 100.0, 80)]);
    let info = RunInfo {
        kind: Kind::Replay,
        seed: 7,
        time_scale: 10.0,
        engines: 2,
        envoys: 1,
        workers: 1,
        preset: "qwen3-32b-tp2",
        kv_tokens: 1_000,
        tokens_per_chunk: 4,
        warmpath_version: "1.2.3",
        envoy_version: "1.40.0".to_owned(),
        goals: Vec::new(),
        parameters: BTreeMap::from([("trace".to_owned(), "<a & b>.jsonl".to_owned())]),
    };
    Report::new(info, vec![plain, ours])
}

#[test]
fn the_json_is_what_others_read() {
    let same = |value: f64| json!({ "p50": value, "p90": value, "p99": value, "mean": value });
    let expected = json!({
        "arms": [
            {
                "name": "round-robin", "requests": 2, "lost": 1, "waiting": 0, "requests_per_s": 1.0, "cached_share": 0.4, "ideal_cached_share": 0.9,
                "ttft_ms": same(400.0), "tpot_ms": same(600.0 / 19.0), "e2e_ms": same(1_000.0), "output_tokens_per_s": 20.0,
            },
            {
                "name": "warmpath", "requests": 2, "lost": 0, "waiting": 0, "requests_per_s": 1.0, "cached_share": 0.8, "ideal_cached_share": 0.9,
                "ttft_ms": same(100.0), "tpot_ms": same(900.0 / 19.0), "e2e_ms": same(1_000.0), "output_tokens_per_s": 20.0,
            },
        ],
        "run": {
            "kind": "replay", "seed": 7, "time_scale": 10.0, "engines": 2, "envoys": 1, "workers": 1,
            "preset": "qwen3-32b-tp2", "kv_tokens": 1_000, "tokens_per_chunk": 4, "warmpath_version": "1.2.3",
            "envoy_version": "1.40.0", "parameters": { "trace": "<a & b>.jsonl" },
            "time": "model time: wall time multiplied by time_scale",
            "client_late_ms_p99": { "round-robin": 2.0, "warmpath": 2.0 },
            "lost": { "round-robin": { "status-502": 1 }, "warmpath": {} },
        },
    });
    let found: Value = sample().to_json().unwrap();
    assert_eq!(found, expected, "{found:#}");
}

#[test]
fn the_page_needs_nothing_but_itself() {
    let page = sample().document().to_html();
    for outside in ["http:", "https:", "src=", "href=", "url(", "@import", "<script"] {
        assert!(!page.contains(outside), "{outside} leads outside");
    }
    assert!(page.contains("prefers-color-scheme: dark"));
    assert!(page.contains("&lt;a\u{a0}&amp;\u{a0}b&gt;.jsonl"), "text from outside is escaped");
    assert_eq!(page.matches("<svg").count(), 3);
    assert!(!page.contains("NaN") && !page.contains("inf\""));
}

#[test]
fn a_comparison_without_answers_is_still_a_page() {
    let runs = vec![ArmRun::whole(Arm::Warmpath, Vec::new())];
    let report = Report::new(sample().info, runs);
    assert!(!report.document().to_html().contains("NaN"));
    report.to_json().unwrap();
}

#[test]
fn the_table_tells_what_was_lost_and_why() {
    let sample = sample();
    let table = sample.document().to_text();
    for part in [
        "4.00x lower",
        "2.00x higher",
        "lost 1 by status-502",
        "88.9 % of the endless cache's hits",
        "vary from run to run",
    ] {
        assert!(table.contains(part), "{part} is missing in\n{table}");
    }
}
