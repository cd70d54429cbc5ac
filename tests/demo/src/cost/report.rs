//! What was measured: the median of the repetitions and their spread, and the filter beside the buffer filter.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;
use serde_json::json;

use super::load::Load;
use super::meter::CpuUs;
use super::variant::Variant;
use crate::args::CostArgs;

/// All repetitions of one load.
#[derive(Debug)]
pub(super) struct Case {
    load: Load,
    /// Microseconds for each unit, by variant, one a repetition.
    us: BTreeMap<Variant, Vec<CpuUs>>,
}

/// Repetitions of one variant.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

/// The whole measurement.
#[derive(Debug)]
pub(super) struct Report {
    args: CostArgs,
    cases: Vec<Case>,
}

impl Spread {
    fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        Self { min: at(0), median: at(sorted.len() / 2), max: at(sorted.len().saturating_sub(1)) }
    }

    fn show(self) -> String {
        format!("{:.1} ({:.1}-{:.1})", self.median, self.min, self.max)
    }
}

impl Case {
    pub(super) fn new(load: Load) -> Self {
        Self { load, us: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, variant: Variant, each: CpuUs) {
        self.us.entry(variant).or_default().push(each);
    }

    pub(super) fn print(&self) {
        let [plain, buffer, warmpath] = Variant::ALL.map(|variant| self.spread(variant, all).show());
        let [more, of_workers] = [all, workers].map(|part| self.pairs(part, |ours, base| ours - base).median);
        println!(
            "{:<30} us a {:<8} plain {plain:<22} buffer {buffer:<22} warmpath {warmpath:<22} \
             +{more:.1} us ({of_workers:.1} of the worker), x{:.2}",
            self.load.label(),
            self.load.unit(),
            self.ratio().median,
        );
    }

    fn spread(&self, variant: Variant, part: fn(&CpuUs) -> f64) -> Spread {
        Spread::of(&self.of(variant).iter().map(part).collect::<Vec<_>>())
    }

    fn ratio(&self) -> Spread {
        self.pairs(all, |ours, base| ours / base)
    }

    /// The filter against the buffer filter, repetition by repetition: neighbours in time are alike.
    fn pairs(&self, part: fn(&CpuUs) -> f64, combine: fn(f64, f64) -> f64) -> Spread {
        let pairs = self.of(Variant::Warmpath).iter().zip(self.of(Variant::Buffer));
        Spread::of(&pairs.map(|(ours, base)| combine(part(ours), part(base))).collect::<Vec<_>>())
    }

    fn of(&self, variant: Variant) -> &[CpuUs] {
        self.us.get(&variant).map_or(&[], Vec::as_slice)
    }
}

fn all(cpu: &CpuUs) -> f64 {
    cpu.all
}

fn workers(cpu: &CpuUs) -> f64 {
    cpu.workers
}

impl Report {
    pub(super) fn new(args: CostArgs, cases: Vec<Case>) -> Self {
        Self { args, cases }
    }

    /// Writes `report.json`, and says where.
    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let cases = self.cases.iter().map(|case| {
            let us = |part: fn(&CpuUs) -> f64| {
                Variant::ALL.map(|variant| (variant.name(), case.spread(variant, part))).into_iter().collect()
            };
            let (cpu_us, worker_cpu_us): (BTreeMap<_, _>, BTreeMap<_, _>) = (us(all), us(workers));
            json!({
                "case": case.load,
                "unit": case.load.unit(),
                "cpu_us": cpu_us,
                "worker_cpu_us": worker_cpu_us,
                "warmpath_less_buffer_us": case.pairs(all, |ours, base| ours - base),
                "warmpath_less_buffer_worker_us": case.pairs(workers, |ours, base| ours - base),
                "warmpath_over_buffer": case.ratio(),
            })
        });
        let report = json!({
            "what": "processor time of the Envoy process (one worker) for each unit, median and spread of the repetitions",
            "repetitions": self.args.repetitions,
            "cases": cases.collect::<Vec<_>>(),
        });
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let path = folder.join("report.json");
        fs::write(&path, format!("{report:#}\n"))
            .with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}", path.display());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_is_held_against_its_neighbour_in_time() {
        let mut case = Case::new(Load::Stream { streams: 1, chunks: 1, has_usage: false });
        for (base, ours) in [(10.0, 12.0), (20.0, 23.0), (11.0, 12.0)] {
            case.add(Variant::Buffer, CpuUs { all: base, workers: 1.0 });
            case.add(Variant::Warmpath, CpuUs { all: ours, workers: 2.0 });
        }
        let more = |part| case.pairs(part, |ours, base| ours - base);
        assert_eq!(more(all), Spread { min: 1.0, median: 2.0, max: 3.0 });
        assert_eq!(more(workers), Spread { min: 1.0, median: 1.0, max: 1.0 });
        assert!((case.ratio().median - 1.15).abs() < 1e-9);
        assert_eq!(case.spread(Variant::Plain, all), Spread { min: 0.0, median: 0.0, max: 0.0 });
    }
}
