//! One target against another, repetition by repetition, and all of them in a chart.

use super::llm_d;
use crate::bench::target::Target;
use std::collections::BTreeMap;
use warmpath_report::chart::{self, Arm, Axis, Chart, Group, Range, Scale};
use warmpath_report::{Role, Spread, number, ratio, times as shown};

/// The peer with the least median. `None` where no peer was measured.
pub(super) fn cheapest_peer<T>(
    targets: &BTreeMap<Target, T>,
    values: impl Fn(&T) -> &[f64],
) -> Option<Target> {
    let median = |target: &Target| {
        targets.get(target).map_or(0.0, |samples| Spread::of(values(samples).iter().copied()).median)
    };
    let peers = targets.keys().copied().filter(|target| target.is_peer());
    peers.min_by(|one, other| median(one).total_cmp(&median(other)))
}

/// `ours` against `base`; `None` where one of them was not measured.
pub(super) fn against<T>(
    targets: &BTreeMap<Target, T>,
    values: impl Fn(&T) -> &[f64],
    [ours, base]: [Target; 2],
    combine: impl Fn(f64, f64) -> f64,
) -> Option<Spread> {
    let (ours, base) = (targets.get(&ours)?, targets.get(&base)?);
    Some(Spread::of_pairs(values(ours), values(base), combine))
}

/// The ratio as a table shows it; empty where there is none.
pub(super) fn times<T>(
    targets: &BTreeMap<Target, T>,
    values: impl Fn(&T) -> &[f64],
    pair: Option<[Target; 2]>,
) -> String {
    let found = pair.and_then(|pair| against(targets, values, pair, ratio));
    found.map_or_else(String::new, |found| shown(found.median))
}

/// A row each of a chart, and one for llm-d as it would be on this machine.
pub(super) fn ranges<T>(
    targets: &BTreeMap<Target, T>,
    values: impl Fn(&T) -> &[f64],
    llm_d: Option<Spread>,
) -> Vec<Range> {
    let range = |arm, spread: Spread| Range {
        arm,
        low: spread.min,
        high: spread.max,
        tick: None,
        value: spread.median,
    };
    let measured = targets.iter().map(|(target, samples)| {
        let role = match target {
            Target::Plain | Target::Buffer => Role::Plain,
            Target::SglangRouter | Target::VllmRouter | Target::Smg => Role::Other,
            Target::Warmpath => Role::Ours,
        };
        range(Arm::new(target.name(), role), Spread::of(values(samples).iter().copied()))
    });
    measured.chain(llm_d.map(|us| range(Arm::new(llm_d::NAME, Role::Other), us))).collect()
}

/// The chart of a section.
pub(super) fn chart(title: &str, label: &'static str, groups: &[Group]) -> Vec<(String, Chart)> {
    let axis = Axis { label, scale: Scale::Logarithmic, show: number };
    vec![(String::new(), chart::ranges(title, &axis, groups))]
}
