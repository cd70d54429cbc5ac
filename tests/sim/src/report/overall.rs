//! Each rule over all workloads: by how much it is behind the best of its rivals, on average and at its worst.
//!
//! Which rule wins differs from workload to workload and from figure to figure; one who picks a rule has to live
//! with it on all of them. The mean is geometric, so that a workload where times are long counts no more than others.

use super::group::{Figures, Group, Read};
use serde::Serialize;
use warmpath_report::{Row, Section, Table, times};

/// The figures that are compared, with their heads; less is better.
const FIGURES: [(&str, Read); 3] = [
    ("TTFT mean", |one: &Figures| one.ttft_mean_ms),
    ("E2E mean", |one: &Figures| one.e2e_mean_ms),
    ("TTFT p99", |one: &Figures| one.ttft_p99_ms),
];

/// One rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Overall {
    /// Its name.
    pub rule: String,
    /// Mean TTFT, mean E2E, p99 TTFT.
    pub behind: [Behind; 3],
}

/// A figure over the least of all other rules.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Behind {
    /// Geometric mean over the workloads.
    pub mean: f64,
    /// The largest of them.
    pub worst: f64,
}

/// All rules that are in every workload of which anything was answered; none if that is one rule or none.
pub(super) fn overall(groups: &[Group]) -> Vec<Overall> {
    let groups: Vec<&Group> = groups.iter().filter(|group| is_counted(group)).collect();
    let Some(first) = groups.first() else { return Vec::new() };
    let names = first.contenders().map(|line| line.rule.clone());
    let rules = names.filter_map(|rule| {
        let [ttft, e2e, p99] = FIGURES.map(|(_, of)| behind(&groups, &rule, of));
        Some(Overall { behind: [ttft?, e2e?, p99?], rule })
    });
    rules.collect()
}

/// Where prefill and decode can be apart, other rules are compared.
fn is_counted(group: &Group) -> bool {
    group.workload.split.is_none() && !group.workload.is_held && group.contenders().next().is_some()
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

/// The section; `None` where there is nothing to compare.
pub(super) fn section(rules: &[Overall]) -> Option<Section> {
    let row = |rule: &Overall| {
        let behind = rule.behind.iter().flat_map(|behind| [times(behind.mean), times(behind.worst)]);
        std::iter::once(rule.rule.clone()).chain(behind).collect::<Row>()
    };
    let header = FIGURES.iter().flat_map(|(figure, _)| [*figure, "worst"]);
    let note = "Each rule over the best of all others, taken anew for each workload and figure: geometric mean, and the worst; \
                above 1 is worse. No rule has to be the best on all workloads; one who picks a rule has to live with it on \
                all of them.";
    (!rules.is_empty()).then(|| Section {
        title: "Over all workloads".to_owned(),
        notes: vec![note.to_owned()],
        table: Table::new(std::iter::once("").chain(header), rules.iter().map(row)),
        ..Section::default()
    })
}
