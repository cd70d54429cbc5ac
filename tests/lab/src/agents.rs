//! `demo agents`: coding agents whose contexts are about twice what the engines' caches hold, through the shipped configuration
//! with two workers, once with nobody waiting in the proxy and once with requests held there for room.
//!
//! The pool's `hold` counts seconds of the wall clock, which the time scale shortens like everything else.

use crate::args::DemoArgs;
use crate::arm::Arm;
use crate::cluster::{Cluster, Spec, params};
use crate::demo::TOKENS_PER_CHUNK;
use crate::measure::{ArmRun, Summary};
use crate::play::{Progress, Span, Stage, work};
use crate::report::{Kind, Report, RunInfo, parameters};
use crate::workload::{Agent, agents, describe_agents};
use anyhow::ensure;
use std::sync::Arc;
use warmpath_core::wire::Hold;
use warmpath_report::percent;

/// Worker threads of the Envoy: what one knows of a conversation, the other has to know, too.
const WORKERS: u32 = 2;

/// The clients start within this time, in milliseconds of model time.
const START_MS: f64 = 120_000.0;

const MS_PER_S: f64 = 1_000.0;

/// Plays both arms.
pub async fn play(args: &DemoArgs) -> anyhow::Result<Report> {
    ensure!(
        args.engines > 0
            && args.clients > 0
            && args.time_scale > 0.0
            && args.seconds > 0.0
            && args.room_s > 0.0,
        "engines, clients, scale, seconds and the wait for room must be positive"
    );
    let sessions: Arc<[Agent]> = agents(args.seed)?.into();
    println!(
        "{} agents, {} engines, {} times real speed, {:.0} s each arm, seed {}",
        args.clients,
        args.engines,
        args.time_scale,
        (START_MS / MS_PER_S + args.seconds) / args.time_scale,
        args.seed
    );
    let (mut runs, mut envoy_version) = (Vec::new(), String::new());
    for arm in Arm::HOLDS {
        let (run, version) = play_arm(args, arm, &sessions).await?;
        println!("{:>14}: {} requests", arm.name(), run.calls.len());
        runs.push(run);
        envoy_version = version;
    }
    let refusals: usize = runs.iter().filter_map(|run| Some(run.window.as_ref()?.refusals)).sum();
    let summaries: Vec<_> = runs.iter().map(ArmRun::summary).collect();
    let again = (refusals.to_string(), "requests were refused with `retry-after`, and sent again".to_owned());
    let goals = gain(&summaries, args.room_s).into_iter().chain([again]).collect();
    Ok(Report::new(run_info(args, envoy_version, goals), runs))
}

async fn play_arm(args: &DemoArgs, arm: Arm, sessions: &Arc<[Agent]>) -> anyhow::Result<(ArmRun, String)> {
    let spec = Spec {
        tokens_per_chunk: TOKENS_PER_CHUNK,
        workers: WORKERS,
        hold: (arm == Arm::Held).then(|| hold(args)),
        ..Spec::new(arm, args.engines, params(args.preset, args.kv_tokens), args.time_scale)
    };
    let cluster = Cluster::start(&spec).await?;
    let version = cluster.envoy_version().await?;
    let stage = Arc::new(Stage::new(&cluster, &spec, Progress::new(arm, Progress::ENDLESS)));
    let span = Span { counts_from_ms: START_MS, ends_ms: START_MS + args.seconds * MS_PER_S };
    let run = work(&stage, sessions, args.clients, span).await?;
    cluster.shutdown().await;
    Ok((run, version))
}

/// The wait in whole seconds of the wall clock, which configurations have.
fn hold(args: &DemoArgs) -> Hold {
    let wall_s = (args.room_s / args.time_scale).round().max(1.0);
    Hold { room_ms_max: (wall_s * MS_PER_S) as u32, ..Hold::default() }
}

/// What holding requests gains.
fn gain(arms: &[Summary], room_s: f64) -> Option<(String, String)> {
    let [all, held] = arms else { return None };
    let more = held.requests_per_s / all.requests_per_s - 1.0;
    let label = format!(
        "change of requests a second by holding requests for room, up to {room_s:.0} s (goal: 25 % at 300 s, 15 % at 120 s)"
    );
    more.is_finite().then(|| (percent(more), label))
}

fn run_info(args: &DemoArgs, envoy_version: String, goals: Vec<(String, String)>) -> RunInfo {
    let mut parameters = parameters(&describe_agents());
    parameters.insert("agents at a time".to_owned(), args.clients.to_string());
    parameters.insert("longest wait for room".to_owned(), format!("{:.0} s", args.room_s));
    parameters
        .insert("measured".to_owned(), format!("{:.0} s after {:.0} s", args.seconds, START_MS / MS_PER_S));
    RunInfo {
        kind: Kind::Agents,
        seed: args.seed,
        time_scale: args.time_scale,
        engines: args.engines,
        envoys: 1,
        workers: WORKERS,
        preset: args.preset.name(),
        kv_tokens: params(args.preset, args.kv_tokens).kv_tokens,
        tokens_per_chunk: TOKENS_PER_CHUNK,
        warmpath_version: env!("CARGO_PKG_VERSION"),
        envoy_version,
        parameters,
        goals,
    }
}
