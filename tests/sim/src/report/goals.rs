//! The goals, which are the project's own aims, one by one, with what was found: each against the best of the other rules for that very figure.

use serde::Serialize;

use super::group::{Group, Line, Read};
use crate::calibrate::{ArmRun, Ladder, Stand};
use crate::plan::Kind;
use crate::rules::RuleName;

/// Share of the endless cache's hits to find, where the caches have room for them.
const PART_OF_BOUND_MIN: f64 = 0.97;
/// Mean TTFT and mean E2E over the best other's: the goal, and what it may never exceed.
const MEAN_RATIO: (f64, f64) = (0.9, 1.02);
/// TTFT p99 over the best other's.
const P99_RATIO_MAX: f64 = 1.0;
/// Mean TTFT of several proxies over that of one that knows everything at once.
const PROXIES_RATIO_MAX: f64 = 1.05;
/// The ladder's rate for which there are goals.
const LADDER_RATE: f64 = 60.0;
/// TTFT p90 at that rate, in milliseconds.
const LADDER_TTFT_P90_MS_MAX: f64 = 200.0;
/// Output tokens/s at that rate over round-robin's.
const LADDER_OUTPUT_RATIO_MIN: f64 = 2.4;
/// Mean error of the simulator's output tokens/s against published ladders, round-robin.
const CALIBRATION_ERROR_MAX: f64 = 0.1;

/// Digits after the point at most.
const DIGITS_MAX: usize = 6;

/// One goal on one workload.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Goal {
    /// The workload, or the published ladder.
    pub workload: String,
    /// What is measured.
    pub figure: &'static str,
    /// What was found.
    pub found: f64,
    /// The goal, in words.
    pub goal: String,
    /// The goal, as a number.
    #[serde(skip)]
    pub limit: Limit,
    /// Against whom, if against somebody.
    pub against: Option<String>,
    /// The same for engines that share one endless cache: how far any rule could get.
    pub bound: Option<f64>,
    /// Whether it was reached.
    pub verdict: Verdict,
}

/// What a goal asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// At most: the goal, and what is still allowed.
    Most(f64, f64, Unit),
    /// At least.
    Least(f64, Unit),
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// One over another.
    Ratio,
    /// Milliseconds.
    Ms,
    /// A part of 1, told in percent.
    Share,
}

/// Whether a goal was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It was.
    Met,
    /// It was not, but what must never be worse is not worse.
    Short,
    /// It was not.
    Missed,
}

/// All goals of all workloads.
pub(super) fn goals(groups: &[Group], ladders: &[Ladder]) -> Vec<Goal> {
    groups.iter().flat_map(of_group).chain(ladders.iter().flat_map(of_ladder)).collect()
}

fn of_group(group: &Group) -> Vec<Goal> {
    let mut goals = Vec::new();
    let name = &group.workload.name;
    let mut add = |figure, found: f64, limit: Limit, against: Option<&str>| {
        goals.push(Goal::new(name, figure, found, limit, against.map(str::to_owned)));
    };
    let Some(ours) = group.ours().map(|line| line.figures) else { return goals };
    if group.workload.has_ample_cache {
        let limit = Limit::Least(PART_OF_BOUND_MIN, Unit::Share);
        add("cached, part of bound", ours.part_of_bound, limit, Some("endless cache"));
    }
    let ratios: [(_, Read, _); 3] = [
        ("mean TTFT", |one| one.ttft_mean_ms, MEAN_RATIO),
        ("mean E2E", |one| one.e2e_mean_ms, MEAN_RATIO),
        ("p99 TTFT", |one| one.ttft_p99_ms, (P99_RATIO_MAX, P99_RATIO_MAX)),
    ];
    for (figure, of, (goal, worst)) in ratios {
        if let (Some(ratio), Some(best)) = (group.ratio(of), group.best_other(of)) {
            add(figure, ratio, Limit::Most(goal, worst, Unit::Ratio), Some(&best.rule));
        }
    }
    if let Some(several) = group.of(Kind::Proxies) {
        let ratio = several.figures.ttft_mean_ms / ours.ttft_mean_ms;
        add(
            "several proxies, mean TTFT",
            ratio,
            Limit::most(PROXIES_RATIO_MAX, Unit::Ratio),
            Some("one proxy"),
        );
    }
    if group.workload.ladder_rate.is_some_and(|rate| rate.total_cmp(&LADDER_RATE).is_eq()) {
        add("p90 TTFT", ours.ttft_p90_ms, Limit::most(LADDER_TTFT_P90_MS_MAX, Unit::Ms), None);
        let plain = group.others().find(|line| line.rule == RuleName::RoundRobin.name());
        if let Some(plain) = plain {
            let ratio = ours.output_tokens_per_s / plain.figures.output_tokens_per_s;
            let limit = Limit::Least(LADDER_OUTPUT_RATIO_MIN, Unit::Ratio);
            add("output tokens/s", ratio, limit, Some(&plain.rule));
        }
    }
    if let Some(bound) = group.of(Kind::Bound) {
        for goal in &mut goals {
            let of = ratios.iter().find(|(figure, ..)| *figure == goal.figure).map(|(_, of, _)| *of);
            goal.bound = of.and_then(|of| Some(of(&bound.figures) / of(&group.best_other(of)?.figures)));
        }
    }
    goals
}

/// The arms that look at nothing: what they reach is the engines' doing alone.
fn of_ladder(ladder: &Ladder) -> Vec<Goal> {
    let blind = [Stand::Rule(RuleName::RoundRobin), Stand::Random].map(Stand::name);
    let arms = ladder.arms.iter().filter(|arm| blind.contains(&arm.rule));
    let goal = |arm: &ArmRun| {
        let limit = Limit::most(CALIBRATION_ERROR_MAX, Unit::Share);
        let against = format!("{}, as {}", arm.published, arm.rule);
        Goal::new(
            ladder.name,
            "simulator's error, output tokens/s",
            arm.output_error_mean,
            limit,
            Some(against),
        )
    };
    arms.map(goal).collect()
}

// === impl Unit ===

impl Unit {
    fn show(self, value: f64, digits: usize) -> String {
        match self {
            Self::Ratio => format!("{value:.digits$}x"),
            Self::Ms => format!("{value:.digits$} ms"),
            Self::Share => format!("{:.digits$} %", value * 100.0),
        }
    }

    /// Digits after the point that tell enough, and by how many places the value is moved before.
    const fn digits(self) -> (usize, usize) {
        match self {
            Self::Ratio => (2, 0),
            Self::Ms => (0, 0),
            Self::Share => (1, 2),
        }
    }
}

// === impl Limit ===

impl Limit {
    const fn most(goal: f64, unit: Unit) -> Self {
        Self::Most(goal, goal, unit)
    }

    const fn unit(self) -> Unit {
        match self {
            Self::Most(.., unit) | Self::Least(_, unit) => unit,
        }
    }

    fn verdict(self, found: f64) -> Verdict {
        match self {
            Self::Most(goal, ..) if found <= goal => Verdict::Met,
            Self::Most(_, worst, _) if found <= worst => Verdict::Short,
            Self::Least(goal, _) if found >= goal => Verdict::Met,
            Self::Most(..) | Self::Least(..) => Verdict::Missed,
        }
    }

    /// In words.
    fn shown(self) -> String {
        match self {
            Self::Most(goal, ..) => format!("<= {}", self.plain(goal)),
            Self::Least(goal, _) => format!(">= {}", self.plain(goal)),
        }
    }

    fn plain(self, goal: f64) -> String {
        match self.unit() {
            Unit::Ratio => format!("{goal}x"),
            Unit::Ms => format!("{goal} ms"),
            Unit::Share => format!("{:.0} %", goal * 100.0),
        }
    }
}

// === impl Verdict ===

impl Verdict {
    /// The word in reports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Short => "short",
            Self::Missed => "missed",
        }
    }

    /// One character for tables.
    pub const fn mark(self) -> &'static str {
        match self {
            Self::Met => "+",
            Self::Short => "~",
            Self::Missed => "-",
        }
    }
}

// === impl Goal ===

impl Goal {
    fn new(workload: &str, figure: &'static str, found: f64, limit: Limit, against: Option<String>) -> Self {
        let (goal, verdict) = (limit.shown(), limit.verdict(found));
        Self { workload: workload.to_owned(), figure, found, goal, limit, against, bound: None, verdict }
    }

    /// Whether it is against this arm.
    pub(super) fn is_against(&self, line: &Line) -> bool {
        self.against.as_deref() == Some(&line.rule)
    }

    /// What was found, as people read it: with so many digits that it is on the same side of the goal as it was.
    pub fn shown(&self) -> String {
        let unit = self.limit.unit();
        let (least, moved) = unit.digits();
        let is_told = |digits: &usize| {
            let scale = 10_f64.powi(i32::try_from(digits + moved).unwrap_or_default());
            self.limit.verdict((self.found * scale).round() / scale) == self.verdict
        };
        let digits = (least..=DIGITS_MAX).find(is_told).unwrap_or(DIGITS_MAX);
        unit.show(self.found, digits)
    }
}
