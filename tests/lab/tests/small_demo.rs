//! A small demo with everything in it: engines, controller, the built filter, a real Envoy.
#![allow(clippy::unwrap_used, reason = "a helper of a test may unwrap as the test does")]

use warmpath_engine::Preset;
use warmpath_lab::args::{DemoArgs, Place, ReplayArgs};
use warmpath_lab::arm::Arm;
use warmpath_lab::measure::Summary;
use warmpath_lab::report::Report;
use warmpath_lab::{agents, demo, replay};

/// Requests of one conversation at least and at most times the conversations below.
const REQUESTS: std::ops::RangeInclusive<usize> = 18..=42;

fn arm(report: &Report, arm: Arm) -> &Summary {
    report.summaries().iter().find(|summary| summary.name == arm.name()).unwrap()
}

fn small() -> DemoArgs {
    DemoArgs {
        place: Place::Machine,
        seed: 1,
        engines: 2,
        time_scale: 20.0,
        preset: Preset::Qwen3On2,
        kv_tokens: None,
        clients: 3,
        seconds: 0.0,
        room_s: 0.0,
        groups: 2,
        conversations_per_group: 3,
        images: false,
        failing: None,
        arms: vec![Arm::RoundRobin, Arm::Warmpath],
        out: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_warmpath_finds_more_in_the_caches_than_round_robin() {
    let args = small();
    println!("seed {}", args.seed);
    let report = demo::play(&args).await.unwrap();
    let (plain, ours) = (arm(&report, Arm::RoundRobin), arm(&report, Arm::Warmpath));
    for summary in [plain, ours] {
        assert_eq!(summary.lost, 0, "{summary:?}");
        assert!(REQUESTS.contains(&summary.requests), "{summary:?}");
        assert!(summary.cached_share <= summary.ideal_cached_share, "{summary:?}");
    }
    assert_eq!(plain.requests, ours.requests);
    assert!(ours.cached_share > plain.cached_share, "{ours:?}\n{plain:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_found_again_like_text() {
    let args = DemoArgs { images: true, arms: vec![Arm::Warmpath], ..small() };
    println!("seed {}", args.seed);
    let report = demo::play(&args).await.unwrap();
    let ours = arm(&report, Arm::Warmpath);
    assert!(ours.cached_share > 0.3 && ours.lost == 0, "{ours:?}");
    assert_eq!(report.to_json().unwrap()["run"]["goals"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_with_prefill_and_decode_together_and_apart() {
    let args = DemoArgs { place: Place::Pd, engines: 4, clients: 8, conversations_per_group: 6, ..small() };
    println!("seed {}", args.seed);
    let report = demo::play(&args).await.unwrap();
    let requests: Vec<usize> = Arm::LEGS.map(|legs| arm(&report, legs).requests).to_vec();
    assert_eq!(requests, [requests[0]; 3]);
    for summary in report.summaries() {
        assert_eq!(summary.lost, 0, "{summary:?}");
    }
    let goals = report.to_json().unwrap()["run"]["goals"].clone();
    assert_eq!(goals.as_array().unwrap().len(), 2, "of the arms that pass KV on: {goals}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_played_through_two_envoys() {
    let args = ReplayArgs {
        trace: None,
        limit: Some(20),
        time_scale: 20.0,
        kv_tokens: None,
        preset: Preset::Qwen3On2,
        engines: 2,
        arms: vec![Arm::Warmpath],
        envoys: 2,
        workers: 2,
        seed: 1,
        tokens_per_chunk: 64,
        out: None,
    };
    let report = replay::play(&args).await.unwrap();
    let ours = arm(&report, Arm::Warmpath);
    assert_eq!((ours.requests, ours.lost), (20, 0), "{ours:?}");
    assert!(ours.cached_share <= ours.ideal_cached_share, "{ours:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_agents_is_lost_with_and_without_waiting() {
    let args = DemoArgs {
        place: Place::Agents,
        clients: 4,
        time_scale: 60.0,
        seconds: 120.0,
        room_s: 60.0,
        ..small()
    };
    println!("seed {}", args.seed);
    let report = agents::play(&args).await.unwrap();
    for summary in Arm::HOLDS.map(|of| arm(&report, of)) {
        assert!(summary.lost == 0 && summary.requests > 0, "{summary:?}");
    }
}
