//! The goals, one by one, with what was found: each against the best published rule for that very figure.

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
    /// Against whom, if against somebody.
    pub against: Option<String>,
    /// The same for engines that share one endless cache: how far any rule could get.
    pub bound: Option<f64>,
    /// Whether it was reached.
    pub verdict: Verdict,
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
    let mut add = |figure, found: f64, goal: String, against: Option<&str>, verdict| {
        let against = against.map(str::to_owned);
        goals.push(Goal { workload: name.clone(), figure, found, goal, against, bound: None, verdict });
    };
    let Some(ours) = group.ours().map(|line| line.figures) else { return goals };
    if group.workload.has_ample_cache {
        let goal = format!(">= {PART_OF_BOUND_MIN}");
        add(
            "cached, part of bound",
            ours.part_of_bound,
            goal,
            Some("endless cache"),
            least(ours.part_of_bound, PART_OF_BOUND_MIN),
        );
    }
    let ratios: [(_, Read, _); 3] = [
        ("mean TTFT", |one| one.ttft_mean_ms, MEAN_RATIO),
        ("mean E2E", |one| one.e2e_mean_ms, MEAN_RATIO),
        ("p99 TTFT", |one| one.ttft_p99_ms, (P99_RATIO_MAX, P99_RATIO_MAX)),
    ];
    for (figure, of, (goal, limit)) in ratios {
        if let (Some(ratio), Some(best)) = (group.ratio(of), group.best_other(of)) {
            let verdict = if ratio > goal && ratio <= limit { Verdict::Short } else { most(ratio, goal) };
            add(figure, ratio, format!("<= {goal}x"), Some(&best.rule), verdict);
        }
    }
    if let Some(several) = group.of(Kind::Proxies) {
        let ratio = several.figures.ttft_mean_ms / ours.ttft_mean_ms;
        let goal = format!("<= {PROXIES_RATIO_MAX}x");
        add("several proxies, mean TTFT", ratio, goal, Some("one proxy"), most(ratio, PROXIES_RATIO_MAX));
    }
    if group.workload.ladder_rate.is_some_and(|rate| rate.total_cmp(&LADDER_RATE).is_eq()) {
        let goal = format!("<= {LADDER_TTFT_P90_MS_MAX} ms");
        add("p90 TTFT", ours.ttft_p90_ms, goal, None, most(ours.ttft_p90_ms, LADDER_TTFT_P90_MS_MAX));
        if let Some(plain) = group.lines.iter().find(|line| line.rule == RuleName::RoundRobin.name()) {
            let ratio = ours.output_tokens_per_s / plain.figures.output_tokens_per_s;
            let goal = format!(">= {LADDER_OUTPUT_RATIO_MIN}x");
            add("output tokens/s", ratio, goal, Some(&plain.rule), least(ratio, LADDER_OUTPUT_RATIO_MIN));
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
    let goal = |arm: &ArmRun| Goal {
        workload: ladder.name.to_owned(),
        figure: "simulator's error, output tokens/s",
        found: arm.output_error_mean,
        goal: format!("<= {CALIBRATION_ERROR_MAX}"),
        against: Some(format!("{}, as {}", arm.published, arm.rule)),
        bound: None,
        verdict: most(arm.output_error_mean, CALIBRATION_ERROR_MAX),
    };
    arms.map(goal).collect()
}

fn most(found: f64, limit: f64) -> Verdict {
    if found <= limit { Verdict::Met } else { Verdict::Missed }
}

fn least(found: f64, limit: f64) -> Verdict {
    if found >= limit { Verdict::Met } else { Verdict::Missed }
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
    /// Whether it is against this arm.
    pub(super) fn is_against(&self, line: &Line) -> bool {
        self.against.as_deref() == Some(&line.rule)
    }

    /// What was found, as people read it.
    pub fn shown(&self) -> String {
        if self.goal.ends_with('x') {
            format!("{:.2}x", self.found)
        } else if self.goal.ends_with("ms") {
            crate::page::time_ms(self.found)
        } else {
            crate::page::percent(self.found)
        }
    }
}
