//! The goals, which are the project's own aims, one by one, with what was found: each against the best of the other rules
//! for that very figure.

use super::group::{Group, Read, SplitLoad};
use super::held_goals;
use crate::arm::Kind;
use crate::calibrate::{ArmRun, Ladder, Stand};
use crate::rules::RuleName;
use warmpath_report::{Goal, Limit, Spread, Unit};

/// Share of the endless cache's hits to find, where the caches have room for them.
const PART_OF_BOUND_MIN: f64 = 0.97;
/// Mean TTFT and mean E2E over the best other's: the goal, and what it may never exceed.
const MEAN_RATIO: (f64, f64) = (0.9, 1.02);
/// TTFT p99 over the best other's.
const P99_RATIO_MAX: f64 = 1.0;
/// Mean TTFT of several proxies over that of one router for which nothing is late.
const PROXIES_RATIO_MAX: f64 = 1.05;
/// Mean E2E of one router whose requests may wait over that of one whose requests do not.
const GATE_RATIO_MAX: f64 = 1.01;
/// The ladder's rate for which there are goals.
const LADDER_RATE: f64 = 60.0;
/// TTFT p90 at that rate, in milliseconds.
const LADDER_TTFT_P90_MS_MAX: f64 = 200.0;
/// Output tokens/s at that rate over round-robin's.
const LADDER_OUTPUT_RATIO_MIN: f64 = 2.4;
/// Mean error of the simulator's output tokens/s against published ladders, round-robin.
const CALIBRATION_ERROR_MAX: f64 = 0.1;

/// Means over the best fixed rule's, where prefill and decode can be apart: the goal, and what it may never exceed.
const SPLIT_RATIO: (f64, f64) = (1.0, 1.02);
/// Mean E2E over the best fixed rule's where the load is mixed.
const SPLIT_MIXED_RATIO_MAX: f64 = 0.9;

/// All goals of all workloads.
pub(super) fn goals(groups: &[Group], ladders: &[Ladder]) -> Vec<Goal> {
    let held = held_goals::goals(groups);
    groups.iter().flat_map(of_group).chain(held).chain(ladders.iter().flat_map(of_ladder)).collect()
}

fn of_group(group: &Group) -> Vec<Goal> {
    if let Some(load) = group.workload.split {
        return of_split(group, load);
    }
    if group.workload.is_held {
        return Vec::new();
    }
    let mut goals = Vec::new();
    let name = &group.workload.name;
    let mut add = |figure: &str, found: f64, (limit, unit): (Limit, Unit), against: Option<&str>| {
        goals.push(goal(name, figure, found, limit, unit, against));
    };
    let Some(ours) = group.ours().map(|line| line.figures) else { return goals };
    if group.workload.has_ample_cache {
        let limit = (Limit::AtLeast(PART_OF_BOUND_MIN), Unit::Share);
        add("cached, part of bound", ours.part_of_bound, limit, Some("endless cache"));
    }
    let ratios: [(_, Read, _); 3] = [
        ("mean TTFT", |one| one.ttft_mean_ms, MEAN_RATIO),
        ("mean E2E", |one| one.e2e_mean_ms, MEAN_RATIO),
        ("p99 TTFT", |one| one.ttft_p99_ms, (P99_RATIO_MAX, P99_RATIO_MAX)),
    ];
    for (figure, of, (goal, worst)) in ratios {
        if let (Some(ratio), Some(best)) = (group.ratio(of), group.best_other(of)) {
            add(figure, ratio, (Limit::AtMost(goal, worst), Unit::Ratio), Some(&best.rule));
        }
    }
    if let Some(several) = group.of(Kind::Proxies) {
        let ratio = several.figures.ttft_mean_ms / ours.ttft_mean_ms;
        add(
            "several proxies, mean TTFT",
            ratio,
            (Limit::most(PROXIES_RATIO_MAX), Unit::Ratio),
            Some("one proxy"),
        );
    }
    if let Some(held) = group.of(Kind::Held) {
        let ratio = held.figures.e2e_mean_ms / ours.e2e_mean_ms;
        add("mean E2E, with a gate", ratio, (Limit::most(GATE_RATIO_MAX), Unit::Ratio), Some("none"));
    }
    if group.workload.ladder_rate.is_some_and(|rate| rate.total_cmp(&LADDER_RATE).is_eq()) {
        add("p90 TTFT", ours.ttft_p90_ms, (Limit::most(LADDER_TTFT_P90_MS_MAX), Unit::Of("ms")), None);
        let plain = group.others().find(|line| line.rule == RuleName::RoundRobin.name());
        if let Some(plain) = plain {
            let ratio = ours.output_tokens_per_s / plain.figures.output_tokens_per_s;
            let limit = (Limit::AtLeast(LADDER_OUTPUT_RATIO_MIN), Unit::Ratio);
            add("output tokens/s", ratio, limit, Some(&plain.rule));
        }
    }
    if let Some(bound) = group.of(Kind::Bound) {
        for goal in &mut goals {
            let of = ratios.iter().find(|(figure, ..)| *figure == goal.name).map(|(_, of, _)| *of);
            goal.bound = of.and_then(|of| Some(of(&bound.figures) / of(&group.best_other(of)?.figures)));
        }
    }
    goals
}

/// Against the best of the fixed rules for that very figure.
fn of_split(group: &Group, load: SplitLoad) -> Vec<Goal> {
    let e2e = match load {
        SplitLoad::Plain => SPLIT_RATIO.0,
        SplitLoad::Mixed => SPLIT_MIXED_RATIO_MAX,
    };
    let ratios: [(_, Read, _); 3] = [
        ("mean TTFT over fixed rules", |one| one.ttft_mean_ms, SPLIT_RATIO.0),
        ("mean TPOT over fixed rules", |one| one.tpot_mean_ms, SPLIT_RATIO.0),
        ("mean E2E over fixed rules", |one| one.e2e_mean_ms, e2e),
    ];
    let found = ratios.into_iter().filter_map(|(figure, of, most)| {
        let (ratio, best) = (group.ratio(of)?, group.best_other(of)?);
        let limit = Limit::AtMost(most, SPLIT_RATIO.1);
        Some(goal(&group.workload.name, figure, ratio, limit, Unit::Ratio, Some(&best.rule)))
    });
    found.collect()
}

/// The arms that look at nothing: what they reach is the engines' doing alone.
fn of_ladder(ladder: &Ladder) -> Vec<Goal> {
    let blind = [Stand::Rule(RuleName::RoundRobin), Stand::Random].map(Stand::name);
    let arms = ladder.arms.iter().filter(|arm| blind.contains(&arm.rule));
    let of_arm = |arm: &ArmRun| {
        let against = format!("{}, as {}", arm.published, arm.rule);
        let limit = Limit::most(CALIBRATION_ERROR_MAX);
        let figure = "simulator's error, output tokens/s";
        goal(ladder.name, figure, arm.output_error_mean, limit, Unit::Share, Some(&against))
    };
    arms.map(of_arm).collect()
}

pub(super) fn goal(
    group: &str,
    name: &str,
    found: f64,
    limit: Limit,
    unit: Unit,
    against: Option<&str>,
) -> Goal {
    let goal = Goal::new(name, Spread::of([found]), limit, unit);
    Goal { group: group.to_owned(), against: against.map(str::to_owned), ..goal }
}
