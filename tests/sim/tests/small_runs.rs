//! Whole runs over a trace of a few requests: what must hold whatever the rule is, and that a seed is all that a
//! report depends on.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper of a test that fails is a failed test"
)]

use clap::Parser;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Once;
use warmpath_engine::model::LoadTime;
use warmpath_sim::args::Args;
use warmpath_sim::arm::{Arm, Kind};
use warmpath_sim::measure::{Record, Summary};
use warmpath_sim::plan::Plan;
use warmpath_sim::pool::Pool;
use warmpath_sim::report::{Info, Report};
use warmpath_sim::rules::{Apart, Rule, RuleName};
use warmpath_sim::run::{Played, play, play_stages};
use warmpath_sim::sweep::sweep;
use warmpath_sim::workload::{LadderShape, LadderStage, LoraSpec, Texts, ladder_stage};

const REQUESTS: usize = 40;

/// The tests of this file run at once and all need the trace: it must never be there in part.
static WRITTEN: Once = Once::new();

/// A trace in Mooncake's format: five conversations that grow, two requests a second.
fn trace() -> PathBuf {
    let mut text = String::new();
    for number in 0..REQUESTS {
        let (conversation, turn) = (number % 5, number / 5);
        let blocks: Vec<usize> =
            std::iter::once(0).chain((0..=turn).map(|block| 100 * (conversation + 1) + block)).collect();
        let tokens = blocks.len() * 512 - 100;
        let _ = writeln!(
            text,
            r#"{{"timestamp": {}, "input_length": {tokens}, "output_length": 20, "hash_ids": {blocks:?}}}"#,
            number * 500
        );
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("small-{}.jsonl", std::process::id()));
    WRITTEN.call_once(|| std::fs::write(&path, text).unwrap());
    path
}

fn plan(more: &[&str]) -> (Args, Plan) {
    let path = trace();
    let line = ["warmpath-sim", "--no-calibration", "--trace", path.to_str().unwrap()];
    let args = Args::try_parse_from(line.iter().chain(more)).unwrap();
    let plan = Plan::of(&args).unwrap();
    (args, plan)
}

fn json(more: &[&str], threads: usize) -> String {
    let (args, plan) = plan(more);
    let swept = sweep(&plan, threads, &|_, _, _| {}).unwrap();
    Report::new(Info::of(&args, &plan), swept).to_json().unwrap().replace(&std::process::id().to_string(), "")
}

fn played(arm: Arm, pool: Pool) -> Played {
    let (_, plan) = plan(&["--pool", pool.name()]);
    let scenario = &plan.scenarios[0];
    arm.play(&plan.spec(scenario), &plan.workload(scenario, 1).unwrap(), 1)
}

/// All arms of a pool, ours also in several proxies to which much happens.
fn arms(pool: Pool) -> Vec<Arm> {
    let accidents =
        ["--breaks", "0.3", "--jitter-ms", "200", "--controller-restarts-s", "7", "--vm-rebuilds-s", "3"];
    let (_, plan) = plan(&[&accidents[..], &["--pool", pool.name()]].concat());
    plan.arms(&plan.scenarios[0]).collect()
}

#[test]
fn the_same_seed_gives_the_same_bytes_whatever_the_threads_do() {
    let line = ["--seeds", "1,2", "--breaks", "0.05", "--controller-restarts-s", "7", "--vm-rebuilds-s", "3"];
    let one = json(&line, 1);
    assert_eq!(one, json(&line, 3));
    assert!(one.contains("\"rule\": \"warmpath-4\""));
}

#[test]
fn another_seed_gives_another_run() {
    let shape = LadderShape {
        groups: 3,
        prompts_per_group: 2,
        system_tokens: 640,
        question_tokens: 64,
        output_tokens: 8,
    };
    let (_, plan) = plan(&[]);
    let spec = plan.spec(&plan.scenarios[0]);
    let records = |seed: u64| {
        let prompts = shape.prompts(seed, &mut Texts::new(64));
        let stage = LadderStage { rate: 10.0, length_s: 2.0, requests_before: 0 };
        let workload = ladder_stage(&prompts, stage, seed);
        play(&spec, &workload, RuleName::Lmetric.other().unwrap().as_mut()).records
    };
    assert_eq!(records(1), records(1));
    assert_ne!(records(1), records(2));
}

#[test]
fn nothing_is_lost_and_records_are_sane() {
    let all = Pool::ALL.into_iter().flat_map(|pool| arms(pool).into_iter().map(move |arm| (arm, pool)));
    for (arm, pool) in all {
        let name = format!("{} on {pool}", arm.name());
        let played = played(arm, pool);
        assert_eq!((played.records.len(), played.lost), (REQUESTS, 0), "{name}");
        for record in &played.records {
            let (first_s, end_s) = (record.first_s.unwrap(), record.end_s.unwrap());
            assert!(record.sent_s < first_s && first_s < end_s, "{name}: {record:?}");
            assert!(record.cached_tokens <= record.bound_tokens, "{name} beats the bound: {record:?}");
            assert!(record.bound_tokens < record.prompt_tokens, "{name}: {record:?}");
            if arm.kind() == Kind::Bound {
                assert_eq!(record.cached_tokens, record.bound_tokens, "the bound is what it says");
            }
        }
    }
}

#[test]
fn a_later_stage_finds_the_caches_as_the_one_before_left_them() {
    let (_, plan) = plan(&[]);
    let scenario = &plan.scenarios[0];
    let workload = plan.workload(scenario, 1).unwrap();
    let spec = plan.spec(scenario);
    let rule = || RuleName::Sglang.other().unwrap();
    let alone = play(&spec, &workload, rule().as_mut());
    let stages = play_stages(&spec, [&workload, &workload], 30.0, rule().as_mut());
    assert_eq!(stages[0].records, alone.records);
    let cached = |played: &Played| played.records.iter().map(|record| record.cached_tokens).sum::<usize>();
    assert!(cached(&stages[1]) > cached(&stages[0]));
    let end_s = stages[0].records.iter().filter_map(|record| record.end_s).fold(0.0, f64::max);
    assert!(stages[1].records[0].sent_s >= end_s + 30.0);
}

#[test]
fn requests_are_cut_by_their_number() {
    let (_, plan) = plan(&["--requests", "7"]);
    assert_eq!(plan.workload(&plan.scenarios[0], 1).unwrap().jobs().count(), 7);
}

#[test]
fn no_rule_chooses_an_engine_before_it_joins() {
    let (_, plan) = plan(&["--pool", "growing"]);
    let workload = plan.workload(&plan.scenarios[0], 1).unwrap();
    let mut spec = plan.spec(&plan.scenarios[0]);
    let join_s = 10.0;
    spec.starts_s.fill(join_s - spec.engines[0].startup_s);
    for arm in arms(Pool::Growing) {
        let name = arm.name();
        let played = arm.play(&spec, &workload, 1);
        assert_eq!((played.records.len(), played.lost), (REQUESTS, 0), "{name}");
        let is_joined = |record: &&Record| record.engine >= spec.first();
        let early = played.records.iter().filter(is_joined).filter(|record| record.sent_s < join_s).count();
        assert_eq!(early, 0, "{name}");
        // Where no engine is busy, affinity leaves those that joined idle.
        if matches!(arm, Arm::Rule(RuleName::RoundRobin | RuleName::LeastRequests)) {
            assert!(played.records.iter().any(|record| is_joined(&record)), "{name}");
        }
    }
}

/// Seconds to the first token of three equal prompts at once, ascending, on an engine that prefills and as many that
/// decode; none: it does both. One that decodes has room for one of them.
fn split_ttfts_s(held_s_max: f64, decoders: usize) -> Vec<f64> {
    let shape = LadderShape {
        groups: 3,
        prompts_per_group: 1,
        system_tokens: 6_400,
        question_tokens: 64,
        output_tokens: 20,
    };
    let mut workload = ladder_stage(
        &shape.prompts(1, &mut Texts::new(64)),
        LadderStage { rate: 3.0, length_s: 1.0, requests_before: 0 },
        1,
    );
    for session in &mut workload.sessions {
        session.start_s = 0.0;
    }
    let mut spec = Pool::Split.spec();
    spec.engines.truncate(1 + decoders);
    spec.decoders = decoders;
    spec.engines[0].held_s_max = held_s_max;
    if let [_, decoder] = spec.engines.as_mut_slice() {
        decoder.kv_tokens = 7_000;
    }
    let mut rule: Box<dyn Rule> = match decoders {
        0 => RuleName::RoundRobin.other().unwrap(),
        _ => Box::new(Apart::always()),
    };
    let played = play(&spec, &workload, rule.as_mut());
    assert_eq!((played.records.len(), played.lost), (3, 0));
    let is_split = |record: &Record| record.engine == 0 && record.is_split == (decoders > 0);
    assert!(played.records.iter().all(is_split), "rules know who prefills");
    let mut ttfts_s: Vec<f64> = played.records.iter().map(Record::ttft_s).collect();
    ttfts_s.sort_by(f64::total_cmp);
    ttfts_s
}

#[test]
fn what_is_prefilled_elsewhere_has_to_be_fetched_in_time() {
    let whole_s = split_ttfts_s(30.0, 0);
    let split_s = split_ttfts_s(30.0, 1);
    let transfer_s = LoadTime::RDMA_200G.seconds(6_464.0 * 262_144.0);
    assert!(split_s[0] > whole_s[0] + transfer_s, "{split_s:?} apart, {whole_s:?} on one engine");
    let late_s = split_ttfts_s(0.01, 1);
    assert!((late_s[0] - split_s[0]).abs() < 1e-9, "the first is fetched at once");
    assert!(late_s[2] > split_s[2] + 0.1, "{late_s:?} computed again, {split_s:?} fetched");
}

/// Mean seconds to the first token of prompts of `adapters` adapters on an engine that mixes two.
fn lora_ttft_s(adapters: u32) -> f64 {
    let shape = LadderShape {
        groups: 12,
        prompts_per_group: 1,
        system_tokens: 640,
        question_tokens: 64,
        output_tokens: 40,
    };
    let seed = 1;
    let lora = LoraSpec { adapters, exponent: 0.0 };
    let prompts = shape.lora_prompts(lora, seed, &mut Texts::new(64));
    let workload =
        ladder_stage(&prompts, LadderStage { rate: 10.0, length_s: 3.0, requests_before: 0 }, seed);
    let mut spec = Pool::QwenLora.spec();
    spec.engines.truncate(1);
    spec.engines[0].adapters_max = 2;
    let played = play(&spec, &workload, RuleName::RoundRobin.other().unwrap().as_mut());
    assert_eq!((played.records.len(), played.lost), (30, 0));
    Summary::of(&played).ttft_ms.mean / 1_000.0
}

#[test]
fn requests_wait_for_a_place_of_their_adapter() {
    let (few_s, many_s) = (lora_ttft_s(2), lora_ttft_s(6));
    assert!(many_s > 2.0 * few_s, "{many_s} s with six adapters, {few_s} s with two");
}

#[test]
fn a_trace_of_ones_own_finds_more_on_engines_with_a_tier() {
    let cached = |pool: &str| {
        let (_, plan) = plan(&["--pool", pool]);
        let scenario = &plan.scenarios[0];
        let mut spec = plan.spec(scenario);
        for engine in &mut spec.engines {
            // Less than the conversations need.
            engine.kv_tokens = 6_400;
        }
        let workload = plan.workload(scenario, 1).unwrap();
        let played = play(&spec, &workload, RuleName::Sglang.other().unwrap().as_mut());
        assert_eq!(played.lost, 0);
        played.records.iter().map(|record| record.cached_tokens).sum::<usize>()
    };
    let (without, with) = (cached("qwen"), cached("qwen-tiers"));
    assert!(with > without, "{with} tokens with a tier, {without} without");
}
