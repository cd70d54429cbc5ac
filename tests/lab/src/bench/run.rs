//! One run: the figures in turn, each printed as soon as it is known.

use crate::bench::args::BenchArgs;
use crate::bench::figure::burst::Arrivals;
use crate::bench::figure::{self, Figure};
use crate::bench::load::Numbers;
use crate::bench::plan::Plan;
use crate::bench::progress;
use crate::bench::report::{Found, Info, Report};
use crate::bench::target::{ENGINES, Fleet};
use crate::paths;
use anyhow::{Context, ensure};
use std::path::Path;

/// Decides made-up fleets and prompts.
const SEED: u64 = 1;

/// Measures, prints, and writes the report. A target that does not start ends the run with an error: a comparison
/// that misses somebody must not look like one that does not.
pub async fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let plan = Plan::new(args);
    ensure!(plan.repetitions > 0 && args.connections > 0, "repetitions and connections must be positive");
    ensure!(!args.targets.is_empty() && !args.bodies.is_empty(), "there is nothing to measure");
    let out = args.out.clone().unwrap_or_else(|| paths::report_folder("bench"));
    let mut report = Report::new(Info {
        is_quick: args.quick,
        repetitions: plan.repetitions,
        connections: args.connections,
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        targets: args.targets.clone(),
    });
    let wants = |figure| args.figures.contains(&figure);
    if wants(Figure::Cost) || wants(Figure::Burst) {
        at_once(args, &plan, &mut report, &out.join("logs")).await?;
    }
    if wants(Figure::Chunk) {
        streams(args, &plan, &mut report, &out.join("logs-streams")).await?;
    }
    if wants(Figure::Decision) {
        progress::step(Figure::Decision);
        report.add(&Found::Decision(figure::decision::measure(&plan, SEED)?));
    }
    if wants(Figure::ViewMemory) {
        progress::step(Figure::ViewMemory);
        report.add(&Found::ViewMemory(figure::view_memory::measure(SEED)?));
    }
    if wants(Figure::Feed) {
        progress::step(Figure::Feed);
        report.add(&Found::Feed(figure::feed::measure(&plan).await.context("the feed")?));
    }
    if wants(Figure::Wasm) {
        progress::step(Figure::Wasm);
        report.add(&Found::Wasm(figure::wasm::measure(&plan).await.context("the start of the filter")?));
    }
    report.write(&out)
}

/// What is measured in front of engines that answer at once.
async fn at_once(args: &BenchArgs, plan: &Plan, report: &mut Report, logs: &Path) -> anyhow::Result<()> {
    let fleet = Fleet::start(&args.targets, ENGINES, 0.0, logs).await?;
    let mut numbers = Numbers::default();
    if args.figures.contains(&Figure::Cost) {
        let mut cases = Vec::new();
        for body_bytes in &args.bodies {
            cases.push(
                figure::cost::measure(&fleet, plan, args.connections, *body_bytes, &mut numbers).await?,
            );
        }
        report.add(&Found::Cost(cases));
    }
    if args.figures.contains(&Figure::Burst) {
        let mut cases = Vec::new();
        for arrivals in Arrivals::ALL {
            cases.push(figure::burst::measure(&fleet, plan, arrivals, &mut numbers).await?);
        }
        report.add(&Found::Burst(cases));
    }
    Ok(())
}

/// What is measured in front of engines that take their time.
async fn streams(args: &BenchArgs, plan: &Plan, report: &mut Report, logs: &Path) -> anyhow::Result<()> {
    use figure::chunk::{self, STREAMS, TIME_SCALE};
    let fleet = Fleet::start(&args.targets, chunk::ENGINES, TIME_SCALE, logs).await?;
    let mut numbers = Numbers::default();
    let mut cases = Vec::new();
    for streams in STREAMS {
        for has_usage in [false, true] {
            cases.push(chunk::measure(&fleet, plan, streams, has_usage, &mut numbers).await?);
        }
    }
    report.add(&Found::Chunk(cases));
    Ok(())
}
