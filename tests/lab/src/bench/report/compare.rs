//! One target against another, repetition by repetition.

use std::collections::BTreeMap;

use crate::bench::spread::{Spread, ratio};
use crate::bench::target::Target;

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
    found.map_or_else(String::new, |found| format!("{:.2}x", found.median))
}
