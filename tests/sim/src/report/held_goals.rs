//! The goals of workloads in which requests may be held: by how much the fleet does more, and who pays for it.

use super::goals::goal;
use super::group::{Group, Line};
use crate::arm::{Arm, Kind, WAITS_S};
use crate::measure::GroupClosed;
use crate::scenario::Scenario;
use crate::warmpath::Deployment;
use warmpath_report::{Goal, Limit, Unit};

/// Requests/s over the best rule without a gate, for each of [`WAITS_S`].
const GAIN_MIN: [f64; 2] = [1.15, 1.25];
/// Requests/s over no gate where none is needed.
const UNNEEDED_MIN: f64 = 0.99;
/// Gain of several proxies over that of one.
const PROXIES_GAIN_MIN: f64 = 0.95;
/// The chats' time to the first token, p90, over theirs alone on half of the engines.
const CHATS_MAX: f64 = 1.1;
/// The mean time to the last token of one tenant over its own alone on half of the engines.
const TENANT_MAX: f64 = 1.2;

/// A group of sessions, the workload in which it is alone, a figure with its name, and its limit.
type Beside = (&'static str, &'static str, fn(&GroupClosed) -> f64, &'static str, f64);

/// All of them.
pub(super) fn goals(groups: &[Group]) -> Vec<Goal> {
    let held = groups.iter().filter(|group| group.workload.is_held);
    let alone = held.clone().flat_map(|group| beside(group, groups));
    held.flat_map(of_group).chain(alone).collect()
}

/// Where agents are alone.
fn of_group(group: &Group) -> Vec<Goal> {
    let name = &*group.workload.name;
    let (is_crowded, is_unneeded) = (name == Scenario::CROWDED, Scenario::UNCROWDED.contains(&name));
    let mut goals = Vec::new();
    for (room_s, gain_min) in WAITS_S.into_iter().zip(GAIN_MIN) {
        let Some(held) = line(group, room_s) else { continue };
        if is_crowded && let Some(best) = most(group) {
            let ratio = rate(held) / rate(best);
            let figure = format!("requests/s, waits up to {room_s} s");
            goals.push(goal(name, &figure, ratio, Limit::AtLeast(gain_min), Unit::Ratio, Some(&best.rule)));
        }
        if is_crowded && let Some(gain) = gain_of_proxies(group, held, room_s) {
            let figure = format!("several proxies' gain of one's, waits up to {room_s} s");
            goals.push(goal(name, &figure, gain, Limit::AtLeast(PROXIES_GAIN_MIN), Unit::Ratio, None));
        }
        if is_unneeded && let Some(ours) = group.ours() {
            let ratio = rate(held) / rate(ours);
            let figure = format!("requests/s, waits up to {room_s} s");
            goals.push(goal(
                name,
                &figure,
                ratio,
                Limit::AtLeast(UNNEEDED_MIN),
                Unit::Ratio,
                Some(&ours.rule),
            ));
        }
    }
    goals
}

/// What chats, or one tenant, have beside many agents, over what they have alone.
fn beside(group: &Group, groups: &[Group]) -> Vec<Goal> {
    let kinds: [Beside; 2] = [
        (Scenario::CHATS, Scenario::CHATS_ALONE, |one| one.ttft_ms.p90, "p90 TTFT", CHATS_MAX),
        (Scenario::FEW, Scenario::FEW_ALONE, |one| one.e2e_ms.mean, "mean E2E", TENANT_MAX),
    ];
    let name = &*group.workload.name;
    let found = kinds.into_iter().flat_map(|(kind, alone, of, figure, most)| {
        WAITS_S.into_iter().filter_map(move |room_s| {
            let mine = line(group, room_s)?.closed.iter().find(|closed| closed.name == kind)?;
            let alone = groups.iter().find(|group| group.workload.name == alone)?;
            let theirs = line(alone, room_s)?.closed.first()?;
            let figure = format!("{kind}' {figure}, waits up to {room_s} s");
            let limit = Limit::most(most);
            Some(goal(name, &figure, of(mine) / of(theirs), limit, Unit::Ratio, Some(&alone.workload.name)))
        })
    });
    found.collect()
}

/// What a gate adds to several proxies over what it adds to one.
fn gain_of_proxies(group: &Group, held: &Line, room_s: u32) -> Option<f64> {
    let several = group.lines.iter().find(|line| line.kind == Kind::Proxies)?;
    let name = format!("{}-held-{room_s}", several.rule);
    let held_several = group.lines.iter().find(|line| line.rule == name)?;
    let gain = rate(held_several) / rate(several) - 1.0;
    Some(gain / (rate(held) / rate(group.ours()?) - 1.0))
}

/// The rule without a gate that has most requests/s, ours among them.
fn most(group: &Group) -> Option<&Line> {
    group.contenders().max_by(|one, other| rate(one).total_cmp(&rate(other)))
}

/// Ours in one router.
fn line(group: &Group, room_s: u32) -> Option<&Line> {
    let name = Arm::Held(room_s, Deployment::EXACT).name();
    group.lines.iter().find(|line| line.rule == name)
}

fn rate(line: &Line) -> f64 {
    line.closed.first().map_or(0.0, |closed| closed.requests_per_s)
}
