//! Cells by workload, each arm's figures averaged over the seeds.

use crate::arm::Kind;
use crate::measure::{GroupClosed, Phase, Spread, Summary};
use crate::scenario::{Family, Scenario};
use crate::sweep::Cell;
use warmpath_report::Role;
use warmpath_report::chart::Arm;

/// A workload as reports need it.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadInfo {
    /// Its name.
    pub name: String,
    /// What it is.
    pub about: String,
    /// Whether the endless cache's hits can be reached.
    pub has_ample_cache: bool,
    /// The rate, if it is a stage of the ladder.
    pub ladder_rate: Option<f64>,
    /// What its load is, where prefill and decode can be apart.
    pub split: Option<SplitLoad>,
    /// Whether requests may be held; it is cut off.
    pub is_held: bool,
}

/// The load of a workload on engines that pass on what they prefill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitLoad {
    /// Requests of one kind.
    Plain,
    /// Requests of several kinds.
    Mixed,
}

/// All arms of one workload.
#[derive(Clone, Debug)]
pub struct Group {
    /// The workload.
    pub workload: WorkloadInfo,
    /// In the order of the plan.
    pub lines: Vec<Line>,
}

/// One arm.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its name.
    pub rule: String,
    /// What it is in the comparison.
    pub kind: Kind,
    /// Means over the seeds.
    pub figures: Figures,
    /// Where the workload is cut off: all groups of sessions together, and each if there are several.
    pub closed: Vec<GroupClosed>,
    /// Loads over time, of the first seed.
    pub spread: Vec<Spread>,
    /// Lost requests, over all seeds, that are more than an engine's cache holds.
    pub too_long: usize,
    /// Before and after engines join, of the first seed; empty where none does.
    pub phases: Vec<Phase>,
}

/// The figures of an arm that reports tell, each the mean over the seeds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "each is the figure of the same name of `Summary`")]
pub struct Figures {
    pub requests: f64,
    pub cached_share: f64,
    pub bound_cached_share: f64,
    pub part_of_bound: f64,
    pub split_share: f64,
    pub ttft_mean_ms: f64,
    pub ttft_p50_ms: f64,
    pub ttft_p90_ms: f64,
    pub ttft_p99_ms: f64,
    pub tpot_mean_ms: f64,
    pub tpot_p90_ms: f64,
    pub e2e_mean_ms: f64,
    pub e2e_p50_ms: f64,
    pub e2e_p90_ms: f64,
    pub e2e_p99_ms: f64,
    pub output_tokens_per_s: f64,
    pub lost: f64,
    pub imbalance: f64,
}

/// Reads one of them.
pub(super) type Read = fn(&Figures) -> f64;

/// All workloads that have cells, in this order.
pub(super) fn groups(workloads: &[WorkloadInfo], cells: &[Cell]) -> Vec<Group> {
    let group = |workload: &WorkloadInfo| {
        let mine: Vec<&Cell> = cells.iter().filter(|cell| cell.workload == workload.name).collect();
        let mut lines: Vec<Line> = Vec::new();
        for cell in &mine {
            if !lines.iter().any(|line| line.rule == cell.rule) {
                let same = mine.iter().filter(|other| other.rule == cell.rule);
                let figures = Figures::mean(same.clone().map(|cell| &cell.summary));
                let closed = closed(&same.clone().copied().collect::<Vec<_>>());
                let too_long = same.map(|cell| cell.too_long).sum();
                let (rule, spread, phases) = (cell.rule.clone(), cell.spread.clone(), cell.phases.clone());
                lines.push(Line { rule, kind: cell.kind, figures, closed, spread, too_long, phases });
            }
        }
        Group { workload: workload.clone(), lines }
    };
    workloads.iter().map(group).filter(|group| !group.lines.is_empty()).collect()
}

/// Means over the seeds, by group of sessions.
fn closed(cells: &[&Cell]) -> Vec<GroupClosed> {
    let groups = cells.iter().filter_map(|cell| cell.closed.as_ref()).map(|closed| closed.groups.len());
    let count = groups.min().unwrap_or(0);
    let of = |group: usize| {
        let runs = cells.iter().filter_map(|cell| cell.closed.as_ref()).map(|closed| closed.groups[group]);
        GroupClosed::mean(&runs.collect::<Vec<_>>())
    };
    (0..count).map(of).collect()
}

// === impl WorkloadInfo ===

impl From<&Scenario> for WorkloadInfo {
    fn from(scenario: &Scenario) -> Self {
        Self {
            name: scenario.name.clone(),
            about: scenario.about.clone(),
            has_ample_cache: scenario.has_ample_cache(),
            ladder_rate: scenario.ladder_rate(),
            is_held: scenario.family() == Family::Held,
            split: scenario.spec().has_transfer.then(|| SplitLoad::of(scenario)),
        }
    }
}

// === impl SplitLoad ===

impl SplitLoad {
    fn of(scenario: &Scenario) -> Self {
        if scenario.name == Scenario::SPLIT_MIXED { Self::Mixed } else { Self::Plain }
    }
}

// === impl Group ===

impl Group {
    /// Our rule, under the conditions of the others; `None` also where all was lost.
    pub fn ours(&self) -> Option<&Line> {
        self.of(Kind::Ours)
    }

    /// The line of a kind of which there is one; `None` also where all was lost.
    pub fn of(&self, kind: Kind) -> Option<&Line> {
        self.lines.iter().find(|line| line.kind == kind && line.has_answers())
    }

    /// The other rules that had an answer.
    pub fn others(&self) -> impl Iterator<Item = &Line> {
        self.contenders().filter(|line| line.kind == Kind::Other)
    }

    /// Those that stand in the comparison: the other rules and ours, where they had an answer.
    pub fn contenders(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.is_contender())
    }

    /// What was lost by whom, and why where that is known; `None` where nothing was.
    pub(super) fn losses(&self) -> Option<String> {
        let lost: Vec<&Line> = self.lines.iter().filter(|line| line.figures.lost > 0.0).collect();
        let by: Vec<String> =
            lost.iter().map(|line| format!("{} {:.0}", line.label(), line.figures.lost)).collect();
        let is_size = !lost.is_empty() && lost.iter().all(|line| line.too_long > 0);
        let why = if is_size {
            "; prompts that with their answers are longer than an engine's KV cache"
        } else {
            ""
        };
        (!lost.is_empty()).then(|| format!("{}{why}", by.join(", ")))
    }

    /// The other rule with the least of a figure.
    pub fn best_other(&self, of: fn(&Figures) -> f64) -> Option<&Line> {
        self.others().min_by(|one, other| of(&one.figures).total_cmp(&of(&other.figures)))
    }

    /// Our figure over the least of the other rules.
    pub fn ratio(&self, of: fn(&Figures) -> f64) -> Option<f64> {
        let (ours, best) = (of(&self.ours()?.figures), of(&self.best_other(of)?.figures));
        (best > 0.0).then(|| ours / best)
    }
}

// === impl Line ===

impl Line {
    /// Whether any request was answered: without one, there is no time to tell.
    pub fn has_answers(&self) -> bool {
        self.figures.requests > 0.0
    }

    /// Whether it stands in the comparison.
    pub fn is_contender(&self) -> bool {
        matches!(self.kind, Kind::Other | Kind::Ours) && self.has_answers()
    }

    /// What it is in tables and charts.
    pub(super) fn role(&self) -> Role {
        match self.kind {
            Kind::Other | Kind::Holding => Role::Other,
            Kind::Ours | Kind::Held | Kind::Reported => Role::Ours,
            Kind::Proxies | Kind::ReportedProxies | Kind::HeldProxies | Kind::Roles => Role::Proxies,
            Kind::Ablation | Kind::ProxiesAblation => Role::Ablation,
            Kind::Bound => Role::Bound,
        }
    }

    /// Its row in charts.
    pub(super) fn arm(&self) -> Arm {
        Arm::new(&self.rule, self.role())
    }

    /// Its name in tables, with a mark where it is ours in several proxies less a term, and held against those.
    pub(super) fn label(&self) -> String {
        let mark = if self.kind == Kind::ProxiesAblation { " \u{2020}" } else { "" };
        format!("{}{mark}", self.rule)
    }
}

// === impl Figures ===

impl Figures {
    fn mean<'a>(summaries: impl Iterator<Item = &'a Summary>) -> Self {
        let all: Vec<&Summary> = summaries.collect();
        let mean =
            |of: fn(&Summary) -> f64| all.iter().map(|one| of(one)).sum::<f64>() / all.len().max(1) as f64;
        Self {
            requests: mean(|one| one.requests as f64),
            cached_share: mean(|one| one.cached_share),
            bound_cached_share: mean(|one| one.bound_cached_share),
            part_of_bound: mean(Summary::part_of_bound),
            split_share: mean(|one| one.split_share),
            ttft_mean_ms: mean(|one| one.ttft_ms.mean),
            ttft_p50_ms: mean(|one| one.ttft_ms.p50),
            ttft_p90_ms: mean(|one| one.ttft_ms.p90),
            ttft_p99_ms: mean(|one| one.ttft_ms.p99),
            tpot_mean_ms: mean(|one| one.tpot_ms.mean),
            tpot_p90_ms: mean(|one| one.tpot_ms.p90),
            e2e_mean_ms: mean(|one| one.e2e_ms.mean),
            e2e_p50_ms: mean(|one| one.e2e_ms.p50),
            e2e_p90_ms: mean(|one| one.e2e_ms.p90),
            e2e_p99_ms: mean(|one| one.e2e_ms.p99),
            output_tokens_per_s: mean(|one| one.output_tokens_per_s),
            lost: mean(|one| one.lost as f64),
            imbalance: mean(|one| one.imbalance),
        }
    }
}
