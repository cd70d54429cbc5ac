//! `demo`: the same conversations through plain Envoy and through Warmpath, and what it gained.

use crate::agents;
use crate::args::{DemoArgs, Place};
use crate::arm::Arm;
use crate::cluster::{Cluster, Spec, params};
use crate::kubernetes;
use crate::measure::{ArmRun, Call, Quantiles, percentile};
use crate::paths;
use crate::play::{Progress, Stage, converse};
use crate::report::{Kind, Report, RunInfo, parameters};
use crate::workload::{
    Conversation, IMAGE_EVERY, conversations, describe, describe_mixed, mixed, with_images,
};
use anyhow::{Context, ensure};
use std::num::NonZeroU32;
use std::sync::Arc;
use warmpath_engine::Fault;
use warmpath_report::{percent, time_ms, times};

/// Tokens of each streamed piece. Engines under load send several tokens at once; one by one, ten times faster
/// than real, would measure this machine's pipes.
pub(crate) const TOKENS_PER_CHUNK: usize = 4;

/// How long an engine that fails takes for it.
const FAILING_AFTER_MS: u64 = 3;

/// Runs the demo and writes its report.
pub async fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let report = match args.place {
        Place::Machine | Place::Pd => play(args).await?,
        Place::Agents => agents::play(args).await?,
        // What it shows is no comparison, and has no report.
        Place::K8s => return kubernetes::play(args).await,
        // It has a page of its own.
        Place::Scale => return kubernetes::day::play(args).await,
    };
    let name = match args.place {
        Place::Machine | Place::K8s | Place::Scale => "demo",
        Place::Pd => "demo-pd",
        Place::Agents => "demo-agents",
    };
    let folder = args.out.clone().unwrap_or_else(|| paths::report_folder(name));
    report.print();
    report.write(&folder)?;
    println!("\nBy hand: `./just up` starts the same set-up and prints curl lines to try.");
    Ok(())
}

/// Plays all arms.
pub async fn play(args: &DemoArgs) -> anyhow::Result<Report> {
    let Planned { text, all, requests } = plan(args)?;
    let (mut runs, mut goals, mut envoy_version) = (Vec::new(), Vec::new(), String::new());
    let arms = if args.place == Place::Pd { Arm::LEGS.to_vec() } else { args.arms.clone() };
    for arm in arms {
        let Played { run, version, split } = play_arm(args, arm, &all, requests).await?;
        goals.extend(split.map(|split| split_goal(&run, split)));
        runs.push(run);
        envoy_version = version;
    }
    if args.images {
        println!("the same conversations without their images, through Warmpath");
        let without = play_arm(args, Arm::Warmpath, &text, requests).await?.run;
        goals
            .extend(runs.iter().find(|run| run.arm == Arm::Warmpath).map(|with| images_goal(with, &without)));
    }
    if let (Some(status), Some(run)) = (args.failing, runs.iter().find(|run| run.arm == Arm::Warmpath)) {
        goals.push(failing_goal(run, status));
    }
    let info = run_info(args, &runs, all.len(), RunInfoOf { envoys: 1, envoy_version, goals });
    Ok(Report::new(info, runs))
}

/// One arm.
#[derive(Debug)]
struct Played {
    run: ArmRun,
    /// Of Envoy.
    version: String,
    /// Absent where no engine passes KV on.
    split: Option<Split>,
}

/// What became of requests by legs, as the filter counts.
#[derive(Clone, Copy, Debug)]
struct Split {
    /// Those with two legs.
    requests: u64,
    /// Those of them that went to one engine in the end.
    replaced: u64,
}

/// The conversations of a demo.
#[derive(Debug)]
pub(crate) struct Planned {
    /// Without images.
    text: Arc<[Conversation]>,
    /// As they are played.
    pub(crate) all: Arc<[Conversation]>,
    /// How many requests they are.
    pub(crate) requests: usize,
}

/// What differs between the places where a demo runs.
#[derive(Debug)]
pub(crate) struct RunInfoOf {
    pub(crate) envoys: usize,
    pub(crate) envoy_version: String,
    pub(crate) goals: Vec<(String, String)>,
}

/// Plans the conversations, and says what they are.
pub(crate) fn plan(args: &DemoArgs) -> anyhow::Result<Planned> {
    ensure!(
        args.engines > 0 && args.clients > 0 && args.time_scale > 0.0,
        "engines, clients and scale must be positive"
    );
    let text: Arc<[Conversation]> = match args.place {
        Place::Machine | Place::K8s | Place::Agents | Place::Scale => {
            conversations(args.seed, args.groups, args.conversations_per_group)
        }
        Place::Pd => mixed(args.seed, args.groups * args.conversations_per_group),
    }
    .into();
    let mut all = text.to_vec();
    if args.images {
        with_images(&mut all, args.seed, IMAGE_EVERY);
    }
    let all: Arc<[Conversation]> = all.into();
    let requests: usize = all.iter().map(|conversation| conversation.turns.len()).sum();
    println!(
        "{} conversations, {requests} requests, {} engines, {} times real speed, seed {}",
        all.len(),
        args.engines,
        args.time_scale,
        args.seed
    );
    Ok(Planned { text, all, requests })
}

/// How the arms were played.
pub(crate) fn run_info(args: &DemoArgs, runs: &[ArmRun], count: usize, of: RunInfoOf) -> RunInfo {
    let described = if args.place == Place::Pd { describe_mixed() } else { describe() };
    let mut parameters = parameters(&described);
    if let Some(run) = runs.first() {
        let tokens = Quantiles::of(run.answered().map(|(_, answer)| answer.prompt_tokens as f64));
        parameters.insert("prompt tokens".to_owned(), format!("p50 {}, p90 {}", tokens.p50, tokens.p90));
    }
    parameters.insert("clients".to_owned(), args.clients.to_string());
    if args.place != Place::Pd {
        parameters.insert("system prompts".to_owned(), args.groups.to_string());
    }
    parameters.insert("conversations".to_owned(), count.to_string());
    RunInfo {
        kind: if args.place == Place::Pd { Kind::Pd } else { Kind::Demo },
        seed: args.seed,
        time_scale: args.time_scale,
        engines: args.engines,
        envoys: of.envoys,
        workers: 1,
        preset: args.preset.name(),
        kv_tokens: params(args.preset, args.kv_tokens).kv_tokens,
        tokens_per_chunk: TOKENS_PER_CHUNK,
        warmpath_version: env!("CARGO_PKG_VERSION"),
        envoy_version: of.envoy_version,
        parameters,
        goals: of.goals,
    }
}

/// What images of some do to the first tokens of the others.
fn images_goal(with: &ArmRun, without: &ArmRun) -> (String, String) {
    let p95 = |run: &ArmRun, of: &dyn Fn(&Call) -> bool| {
        percentile(run.answered().filter(|(call, _)| of(call)).map(|(_, answer)| answer.ttft_ms), 95)
    };
    let text = p95(with, &|call| !call.has_image);
    let images = p95(with, &|call| call.has_image);
    let alone = p95(without, &|_| true);
    let ratio = if alone > 0.0 { text / alone } else { 0.0 };
    let label = format!(
        "TTFT p95 of text conversations beside others with images, as a multiple of that without images (goal: 1.2x): {} and \
         {}; conversations with images {}",
        time_ms(text),
        time_ms(alone),
        time_ms(images)
    );
    (times(ratio), label)
}

/// What clients notice of an engine that fails.
fn failing_goal(run: &ArmRun, status: u16) -> (String, String) {
    let lost = run.calls.iter().filter(|call| call.outcome.is_err()).count();
    let requests = run.calls.len();
    let share = if requests > 0 { lost as f64 / requests as f64 } else { 0.0 };
    let label = format!(
        "of the requests failed through Warmpath, {lost} of {requests}, with one engine that responds {status} in \
         {FAILING_AFTER_MS} ms (goal: less than 1 %)"
    );
    (percent(share), label)
}

fn faults(args: &DemoArgs) -> Vec<Fault> {
    let fault =
        |code| Fault::Status { code, count: None, after_ms: FAILING_AFTER_MS, every: NonZeroU32::MIN };
    args.failing.map(fault).into_iter().collect()
}

async fn play_arm(
    args: &DemoArgs,
    arm: Arm,
    all: &Arc<[Conversation]>,
    requests: usize,
) -> anyhow::Result<Played> {
    let params = params(args.preset, args.kv_tokens);
    let spec = Spec {
        tokens_per_chunk: TOKENS_PER_CHUNK,
        faults: faults(args),
        ..Spec::new(arm, args.engines, params, args.time_scale)
    };
    let cluster = Cluster::start(&spec).await?;
    let version = cluster.envoy_version().await?;
    let stage = Arc::new(Stage::new(&cluster, &spec, Progress::new(arm, requests)));
    converse(&stage, all, args.clients).await?;
    let split = if spec.passes_kv_on() { Some(Split::of(&cluster).await?) } else { None };
    cluster.shutdown().await;
    Ok(Played { run: stage.finish(), version, split })
}

/// Which share of the requests had two legs.
fn split_goal(run: &ArmRun, split: Split) -> (String, String) {
    let requests = run.calls.len();
    let share = if requests > 0 { split.requests as f64 / requests as f64 } else { 0.0 };
    let label = format!(
        "of the requests had two legs with the engines {}, {} of {requests}; {} of those ended at one engine",
        run.arm, split.requests, split.replaced
    );
    (percent(share), label)
}

// === impl Split ===

impl Split {
    async fn of(cluster: &Cluster) -> anyhow::Result<Self> {
        let envoy = cluster.envoys().first().context("there is no envoy")?;
        let stat = async |name: &str| envoy.admin().stat(&format!("wasmcustom.warmpath.{name}")).await;
        Ok(Self { requests: stat("split").await?, replaced: stat("prefill_leg.replaced_by_local").await? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Lost;
    use crate::measure::Answered;
    use http::StatusCode;

    fn call(ttft_ms: f64, has_image: bool) -> Call {
        let answer = Answered {
            engine: Some(0),
            ttft_ms,
            e2e_ms: ttft_ms,
            prompt_tokens: 1,
            cached_tokens: 0,
            output_tokens: 1,
        };
        Call { at_ms: 0.0, late_ms: 0.0, ideal_cached_tokens: 0, has_image, outcome: Ok(answer) }
    }

    #[test]
    fn only_conversations_without_images_are_compared() {
        let arm = Arm::Warmpath;
        let with = ArmRun::whole(arm, vec![call(110.0, false), call(900.0, true)]);
        let without = ArmRun::whole(arm, vec![call(100.0, false), call(50.0, false)]);
        let (ratio, label) = images_goal(&with, &without);
        assert_eq!(ratio, "1.10x");
        assert!(label.contains("110 ms and 100 ms") && label.contains("900 ms"), "{label}");
    }

    #[test]
    fn requests_that_failed_are_a_share_of_all() {
        let lost = Call { outcome: Err(Lost::Status(StatusCode::INTERNAL_SERVER_ERROR)), ..call(0.0, false) };
        let mut calls = vec![call(1.0, false); 199];
        calls.push(lost);
        let (share, label) = failing_goal(&ArmRun::whole(Arm::Warmpath, calls), 500);
        assert_eq!(share, "0.5 %");
        assert!(label.contains("1 of 200"), "{label}");
    }
}
