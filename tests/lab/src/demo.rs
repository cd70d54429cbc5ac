//! `demo`: the same conversations through plain Envoy and through Warmpath, and what it gained.

use crate::args::DemoArgs;
use crate::arm::Arm;
use crate::cluster::{Cluster, Spec, params};
use crate::measure::{ArmRun, Quantiles};
use crate::paths;
use crate::play::{Progress, Stage, converse};
use crate::report::{Kind, Report, RunInfo, parameters};
use crate::workload::{Conversation, conversations, describe};
use anyhow::ensure;
use std::sync::Arc;

/// Tokens of each streamed piece. Engines under load send several tokens at once; one by one, ten times faster
/// than real, would measure this machine's pipes.
const TOKENS_PER_CHUNK: usize = 4;

/// Runs the demo and writes its report.
pub async fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let report = play(args).await?;
    let folder = args.out.clone().unwrap_or_else(|| paths::report_folder("demo"));
    report.print();
    report.write(&folder)?;
    println!("\nBy hand: `./just up` starts the same set-up and prints curl lines to try.");
    Ok(())
}

/// Plays all arms.
pub async fn play(args: &DemoArgs) -> anyhow::Result<Report> {
    ensure!(
        args.engines > 0 && args.clients > 0 && args.time_scale > 0.0,
        "engines, clients and scale must be positive"
    );
    let all: Arc<[Conversation]> = conversations(args.seed, args.groups, args.conversations_per_group).into();
    let requests: usize = all.iter().map(|conversation| conversation.turns.len()).sum();
    println!(
        "{} conversations, {requests} requests, {} engines, {} times real speed, seed {}",
        all.len(),
        args.engines,
        args.time_scale,
        args.seed
    );
    let (mut runs, mut envoy_version) = (Vec::new(), String::new());
    for arm in &args.arms {
        let (run, version) = play_arm(args, *arm, &all, requests).await?;
        runs.push(run);
        envoy_version = version;
    }
    let mut parameters = parameters(&describe());
    if let Some(run) = runs.first() {
        let tokens = Quantiles::of(run.answered().map(|(_, answer)| answer.prompt_tokens as f64));
        parameters.insert("prompt tokens".to_owned(), format!("p50 {}, p90 {}", tokens.p50, tokens.p90));
    }
    parameters.insert("clients".to_owned(), args.clients.to_string());
    parameters.insert("system prompts".to_owned(), args.groups.to_string());
    parameters.insert("conversations".to_owned(), all.len().to_string());
    let info = RunInfo {
        kind: Kind::Demo,
        seed: args.seed,
        time_scale: args.time_scale,
        engines: args.engines,
        envoys: 1,
        workers: 1,
        preset: args.preset.name(),
        kv_tokens: params(args.preset, args.kv_tokens).kv_tokens,
        tokens_per_chunk: TOKENS_PER_CHUNK,
        warmpath_version: env!("CARGO_PKG_VERSION"),
        envoy_version,
        parameters,
    };
    Ok(Report::new(info, runs))
}

async fn play_arm(
    args: &DemoArgs,
    arm: Arm,
    all: &Arc<[Conversation]>,
    requests: usize,
) -> anyhow::Result<(ArmRun, String)> {
    let params = params(args.preset, args.kv_tokens);
    let spec =
        Spec { tokens_per_chunk: TOKENS_PER_CHUNK, ..Spec::new(arm, args.engines, params, args.time_scale) };
    let cluster = Cluster::start(&spec).await?;
    let version = cluster.envoy_version().await?;
    let stage = Arc::new(Stage::new(&cluster, &spec, Progress::new(arm, requests)));
    converse(&stage, all, args.clients).await?;
    cluster.shutdown().await;
    Ok((stage.finish(), version))
}
