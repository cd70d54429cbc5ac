//! `replay`: a recorded trace through plain Envoy and through Warmpath.

use crate::args::ReplayArgs;
use crate::arm::Arm;
use crate::cluster::{Cluster, Spec, params};
use crate::measure::ArmRun;
use crate::paths;
use crate::play::{self, Progress, Stage};
use crate::report::{Kind, Report, RunInfo, parameters};
use anyhow::{Context, ensure};
use std::path::PathBuf;
use std::sync::Arc;
use warmpath_sim::trace::{self, Recorded};

/// The excerpt that comes with the source.
const EXCERPT: &str = "mooncake_conversation_200.jsonl";

/// Plays the trace and writes the report.
pub async fn run(args: &ReplayArgs) -> anyhow::Result<()> {
    let report = play(args).await?;
    let folder = args.out.clone().unwrap_or_else(|| paths::report_folder("replay"));
    report.print();
    report.write(&folder)?;
    let trace = args.trace.clone().unwrap_or_else(excerpt);
    println!(
        "\nPlayed here: Envoy's own rules and Warmpath. The other published rules, in the simulator: \
         `./just sim --trace {}`",
        trace.display()
    );
    Ok(())
}

/// Plays all arms.
pub async fn play(args: &ReplayArgs) -> anyhow::Result<Report> {
    ensure!(
        args.engines > 0 && args.envoys > 0 && args.time_scale > 0.0,
        "engines, envoys and scale must be positive"
    );
    let path = args.trace.clone().unwrap_or_else(excerpt);
    let loaded = trace::load_requests(&path, args.limit.unwrap_or(usize::MAX));
    let trace: Arc<[Recorded]> = loaded.with_context(|| format!("cannot play {}", path.display()))?.into();
    let span_s = trace.last().map_or(0.0, |last| last.at_ms / 1_000.0);
    println!(
        "{} requests over {span_s:.0} s, {} engines, {} times real speed: about {:.0} s for each arm",
        trace.len(),
        args.engines,
        args.time_scale,
        span_s / args.time_scale
    );
    let (mut runs, mut envoy_version) = (Vec::new(), String::new());
    for arm in &args.arms {
        let (run, version) = play_arm(args, *arm, &trace).await?;
        runs.push(run);
        envoy_version = version;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let tokens = |read: fn(&Recorded) -> usize| trace.iter().map(read).sum::<usize>() / trace.len().max(1);
    let described = [
        ("trace", name),
        ("span", format!("{span_s:.0} s")),
        ("mean prompt tokens", tokens(|request| request.input_tokens).to_string()),
        ("mean answer tokens", tokens(|request| request.output_tokens).to_string()),
    ];
    let info = RunInfo {
        kind: Kind::Replay,
        seed: args.seed,
        time_scale: args.time_scale,
        engines: args.engines,
        envoys: args.envoys,
        workers: args.workers,
        preset: args.preset.name(),
        kv_tokens: params(args.preset, args.kv_tokens).kv_tokens,
        tokens_per_chunk: args.tokens_per_chunk,
        warmpath_version: env!("CARGO_PKG_VERSION"),
        envoy_version,
        goals: Vec::new(),
        parameters: parameters(&described),
    };
    Ok(Report::new(info, runs))
}

async fn play_arm(args: &ReplayArgs, arm: Arm, trace: &Arc<[Recorded]>) -> anyhow::Result<(ArmRun, String)> {
    let params = params(args.preset, args.kv_tokens);
    let spec = Spec {
        tokens_per_chunk: args.tokens_per_chunk,
        envoys: args.envoys,
        workers: args.workers,
        ..Spec::new(arm, args.engines, params, args.time_scale)
    };
    let cluster = Cluster::start(&spec).await?;
    let version = cluster.envoy_version().await?;
    let stage = Arc::new(Stage::new(&cluster, &spec, Progress::new(arm, trace.len())));
    play::replay(&stage, trace, args.seed).await?;
    cluster.shutdown().await;
    Ok((stage.finish(), version))
}

fn excerpt() -> PathBuf {
    paths::fixtures().join(EXCERPT)
}
