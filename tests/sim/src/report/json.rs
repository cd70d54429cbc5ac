//! `report.json`: every cell, and how it came about. No clock and no thread has a part in it.

use super::Report;
use super::group::WorkloadInfo;
use super::overall::Overall;
use crate::args::{
    Args, BREAKS_DEFAULT, DELAY_MS_DEFAULT, JITTER_MS_DEFAULT, PROXIES_DEFAULT, REPORTS_MS_DEFAULT,
    SCRAPE_MS_DEFAULT, WORKERS_DEFAULT,
};
use crate::arm::{Arm, Kind};
use crate::calibrate::Ladder;
use crate::mixture::Mixture;
use crate::plan::Plan;
use crate::pool::Pool;
use crate::sweep::Cell;
use serde::Serialize;
use std::fmt::Write;
use warmpath_report::{Goal, Verdict};

/// How it was played.
#[derive(Clone, Debug, Serialize)]
pub struct Info {
    /// Version of this repository.
    pub warmpath_version: &'static str,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// Requests of a workload at most, if they were cut.
    pub requests_max: Option<usize>,
    /// How often metrics were read, in milliseconds.
    pub scrape_ms: f64,
    /// Proxies of the arm that has several.
    pub proxies: usize,
    /// Workers of each.
    pub workers: usize,
    /// How late messages between them and the controller were, in milliseconds.
    pub delay_ms: f64,
    /// And how much more at most.
    pub jitter_ms: f64,
    /// Share of them with which their stream broke.
    pub break_share: f64,
    /// How late what engines report of their caches reached the controller, in milliseconds.
    pub reports_ms: f64,
    /// Share of the batches of such reports that were lost.
    pub lost_reports: f64,
    /// Time between two restarts of the controller, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller_restarts_s: Option<f64>,
    /// Time between two rebuilds of a VM, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm_rebuilds_s: Option<f64>,
    /// What else there was to traffic and engines.
    #[serde(skip_serializing_if = "Mixture::is_usual")]
    pub mixture: Mixture,
    /// The user's own trace, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<OwnTrace>,
    /// Commands that play one cell again.
    #[serde(skip)]
    pub again: Vec<String>,
    /// The workloads.
    #[serde(skip)]
    pub workloads: Vec<WorkloadInfo>,
}

/// A user's own trace, and how it was played.
#[derive(Clone, Debug, Serialize)]
pub struct OwnTrace {
    /// The file, as it was named.
    pub path: String,
    /// How many times faster than recorded.
    pub speed: f64,
    /// The engines.
    pub pool: &'static str,
}

#[derive(Serialize)]
struct File<'a> {
    run: &'a Info,
    cells: Vec<Full<'a>>,
    goals: Vec<Judged<'a>>,
    overall: &'a [Overall],
    ablations: Vec<Ablation<'a>>,
    calibration: &'a [Ladder],
}

/// A cell with what others of its workload make of it.
#[derive(Serialize)]
struct Full<'a> {
    #[serde(flatten)]
    cell: &'a Cell,
    /// Cached tokens over those of one endless cache.
    part_of_bound: f64,
    /// Means over those on engines that share one endless cache, in milliseconds: (TTFT, E2E).
    regret_ms: Option<Regret>,
}

#[derive(Serialize)]
struct Regret {
    ttft_mean: f64,
    e2e_mean: f64,
}

/// A goal on a workload or a published ladder.
#[derive(Serialize)]
struct Judged<'a> {
    workload: &'a str,
    figure: &'a str,
    found: f64,
    goal: String,
    against: Option<&'a str>,
    bound: Option<f64>,
    verdict: Verdict,
}

/// What a term of the cost earns.
#[derive(Debug, Serialize)]
struct Ablation<'a> {
    workload: &'a str,
    seed: u64,
    without: &'a str,
    /// Without it over with it, above 1 when it earns something.
    ttft_mean_ratio: f64,
    e2e_mean_ratio: f64,
    /// With it less without it.
    cached_share_gain: f64,
}

// === impl Info ===

impl Info {
    /// Of a plan and the command line that it came from.
    pub fn of(args: &Args, plan: &Plan) -> Self {
        Self {
            warmpath_version: env!("CARGO_PKG_VERSION"),
            seeds: plan.seeds.clone(),
            requests_max: Some(plan.requests_max).filter(|requests| *requests < usize::MAX),
            scrape_ms: args.scrape_ms,
            proxies: args.proxies,
            workers: args.workers,
            delay_ms: args.delay_ms,
            jitter_ms: args.jitter_ms,
            break_share: args.breaks,
            reports_ms: args.reports_ms,
            lost_reports: args.lost_reports,
            controller_restarts_s: args.controller_restarts_s,
            vm_rebuilds_s: args.vm_rebuilds_s,
            mixture: args.mixture,
            trace: args.trace.as_ref().map(|path| OwnTrace {
                path: path.display().to_string(),
                speed: args.speed,
                pool: args.pool.name(),
            }),
            again: again(args, plan),
            workloads: plan.scenarios.iter().map(WorkloadInfo::from).collect(),
        }
    }
}

/// Commands that play one cell again: one for workloads by name, one for a trace of one's own, as there were any.
fn again(args: &Args, plan: &Plan) -> Vec<String> {
    let mut options = String::from(" --rules Y --seeds Z");
    if plan.requests_max < usize::MAX {
        let _ = write!(options, " --requests {}", plan.requests_max);
    }
    if let Some(decoders) = args.decoders {
        let _ = write!(options, " --decoders {decoders}");
    }
    let network = [
        ("proxies", args.proxies as f64, PROXIES_DEFAULT as f64),
        ("workers", args.workers as f64, WORKERS_DEFAULT as f64),
        ("delay-ms", args.delay_ms, DELAY_MS_DEFAULT),
        ("jitter-ms", args.jitter_ms, JITTER_MS_DEFAULT),
        ("breaks", args.breaks, BREAKS_DEFAULT),
        ("reports-ms", args.reports_ms, REPORTS_MS_DEFAULT),
        ("lost-reports", args.lost_reports, 0.0),
        ("scrape-ms", args.scrape_ms, SCRAPE_MS_DEFAULT),
    ];
    for (name, value, _) in network.iter().filter(|(_, value, usual)| value.total_cmp(usual).is_ne()) {
        let _ = write!(options, " --{name} {value}");
    }
    let accidents =
        [("controller-restarts-s", args.controller_restarts_s), ("vm-rebuilds-s", args.vm_rebuilds_s)];
    for (name, every_s) in accidents.iter().filter_map(|(name, every_s)| Some((name, (*every_s)?))) {
        let _ = write!(options, " --{name} {every_s}");
    }
    options.push_str(&args.mixture.options());
    let own = args.trace.as_ref().map(|path| {
        let path = quoted(&path.display().to_string());
        let speed = if args.speed.total_cmp(&1.0).is_eq() {
            String::new()
        } else {
            format!(" --speed {}", args.speed)
        };
        let pool =
            if args.pool == Pool::default() { String::new() } else { format!(" --pool {}", args.pool) };
        format!("./just sim --trace {path}{speed}{pool}{options}")
    });
    let has_named = plan.scenarios.len() > usize::from(own.is_some());
    let named = has_named.then(|| format!("./just sim --workloads X{options} --no-calibration"));
    own.into_iter().chain(named).collect()
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "/._-+=:@,".contains(letter);
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// The file's content.
pub(super) fn render(report: &Report) -> anyhow::Result<String> {
    let Report { info, cells, goals, ladders, overall, .. } = report;
    let full = |cell| {
        let bound = beside(cells, cell, Kind::Bound).filter(|bound| bound.rule != cell.rule);
        let regret = |bound: &Cell| Regret {
            ttft_mean: cell.summary.ttft_ms.mean - bound.summary.ttft_ms.mean,
            e2e_mean: cell.summary.e2e_ms.mean - bound.summary.e2e_ms.mean,
        };
        Full { cell, part_of_bound: cell.summary.part_of_bound(), regret_ms: bound.map(regret) }
    };
    let file = File {
        run: info,
        cells: cells.iter().map(full).collect(),
        goals: goals.iter().map(judged).collect(),
        overall,
        ablations: cells.iter().filter_map(|cell| ablation(cells, cell)).collect(),
        calibration: ladders,
    };
    Ok(serde_json::to_string_pretty(&file)? + "\n")
}

fn judged(goal: &Goal) -> Judged<'_> {
    Judged {
        workload: &goal.group,
        figure: &goal.name,
        found: goal.found.median,
        goal: goal.demanded(),
        against: goal.against.as_deref(),
        bound: goal.bound,
        verdict: goal.verdict(),
    }
}

/// The arm of a kind on the same workload with the same seed.
fn beside<'a>(cells: &'a [Cell], cell: &Cell, kind: Kind) -> Option<&'a Cell> {
    let same =
        |other: &&Cell| other.kind == kind && other.workload == cell.workload && other.seed == cell.seed;
    cells.iter().find(same)
}

fn ablation<'a>(cells: &[Cell], cell: &'a Cell) -> Option<Ablation<'a>> {
    let with = &beside(cells, cell, cell.kind.whole()?)?.summary;
    let without = &cell.summary;
    Some(Ablation {
        workload: &cell.workload,
        seed: cell.seed,
        without: cell.rule.trim_start_matches(Arm::WITHOUT),
        ttft_mean_ratio: without.ttft_ms.mean / with.ttft_ms.mean,
        e2e_mean_ratio: without.e2e_ms.mean / with.e2e_ms.mean,
        cached_share_gain: with.cached_share - without.cached_share,
    })
}
