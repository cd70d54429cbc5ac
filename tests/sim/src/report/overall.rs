//! Each rule over all workloads: by how much it is behind the best of its rivals, on average and at its worst.
//!
//! Which rule wins differs from workload to workload and from figure to figure; one who picks a rule has to live
//! with it on all of them. The mean is geometric, so that a workload where times are long counts no more than others.

use serde::Serialize;

use super::group::{Figures, Group, Read};

/// The figures that are compared, with their heads; less is better.
pub(super) const FIGURES: [(&str, Read); 3] = [
    ("TTFT mean", |one: &Figures| one.ttft_mean_ms),
    ("E2E mean", |one: &Figures| one.e2e_mean_ms),
    ("TTFT p99", |one: &Figures| one.ttft_p99_ms),
];

/// One rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overall {
    /// Its name.
    pub rule: String,
    /// Mean TTFT, mean E2E, p99 TTFT.
    pub behind: [Behind; 3],
}

/// A figure over the least of all other rules.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Behind {
    /// Geometric mean over the workloads.
    pub mean: f64,
    /// The largest of them.
    pub worst: f64,
}

/// All rules that are in every workload of which anything was answered; none if that is one rule or none.
pub(super) fn overall(groups: &[Group]) -> Vec<Overall> {
    let groups: Vec<&Group> = groups.iter().filter(|group| group.contenders().next().is_some()).collect();
    let Some(first) = groups.first() else { return Vec::new() };
    let names = first.contenders().map(|line| line.rule.clone());
    let rules = names.filter_map(|rule| {
        let [ttft, e2e, p99] = FIGURES.map(|(_, of)| behind(&groups, &rule, of));
        Some(Overall { behind: [ttft?, e2e?, p99?], rule })
    });
    rules.collect()
}

fn behind(groups: &[&Group], rule: &str, of: Read) -> Option<Behind> {
    let mut sum = 0.0;
    let mut worst: f64 = 0.0;
    for group in groups {
        let own = group.contenders().find(|line| line.rule == rule)?;
        let others = group.contenders().filter(|line| line.rule != rule).map(|line| of(&line.figures));
        let best = others.fold(f64::INFINITY, f64::min);
        let ratio = of(&own.figures) / best;
        if !(best.is_finite() && ratio > 0.0) {
            return None;
        }
        sum += ratio.ln();
        worst = worst.max(ratio);
    }
    Some(Behind { mean: (sum / groups.len() as f64).exp(), worst })
}
