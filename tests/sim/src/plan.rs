//! What is played: workloads, seeds, and the arms beside each other.

use crate::args::Args;
use crate::arm::{Arm, arms};
use crate::mixture::Mixture;
use crate::run::Spec;
use crate::scenario::{Scenario, Source};
use crate::workload::Workload;
use anyhow::{Context, bail};
use std::path::PathBuf;

/// What `--quick` plays, and how many requests of each.
const QUICK: ([&str; 3], usize) = (["mooncake", "agentic-24", "ladder-20"], 600);

const MS_PER_S: f64 = 1_000.0;

/// Everything to play.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The workloads.
    pub scenarios: Vec<Scenario>,
    /// What they are played with, as far as it suits them.
    arms: Vec<Arm>,
    /// Each is a run of its own.
    pub seeds: Vec<u64>,
    /// Requests of a workload at most.
    pub requests_max: usize,
    /// How many engines only decode, where rules need such; each workload's own number by default.
    pub decoders: Option<usize>,
    /// How often metrics are read, in seconds.
    pub scrape_s: f64,
    /// What else there is to traffic and engines.
    pub mixture: Mixture,
    /// Whether the published ladders are played too.
    pub has_calibration: bool,
    /// The folder of the recorded traces.
    pub folder: PathBuf,
}

// === impl Plan ===

impl Plan {
    /// From the command line.
    pub fn of(args: &Args) -> anyhow::Result<Self> {
        let quick = |is_quick: bool| if is_quick { QUICK.0.map(str::to_owned).to_vec() } else { Vec::new() };
        let names = if args.workloads.is_empty() { quick(args.quick) } else { args.workloads.clone() };
        let mut scenarios: Vec<Scenario> =
            args.trace.iter().map(|path| Scenario::of_file(path, args.speed, args.pool)).collect();
        for name in &names {
            scenarios.push(name.parse()?);
        }
        if scenarios.is_empty() {
            scenarios = Scenario::all();
        }
        let requests_max = if args.quick { QUICK.1 } else { usize::MAX };
        if args.seeds.is_empty() {
            bail!("at least one seed is needed");
        }
        Ok(Self {
            scenarios,
            arms: chosen(arms(args), &args.rules)?,
            seeds: args.seeds.clone(),
            requests_max: args.requests.unwrap_or(requests_max),
            decoders: args.decoders,
            scrape_s: args.scrape_ms / MS_PER_S,
            mixture: args.mixture,
            has_calibration: args.calibration || !(args.no_calibration || args.quick || args.trace.is_some()),
            folder: concat!(env!("CARGO_MANIFEST_DIR"), "/data/traces").into(),
        })
    }

    /// What a workload is played with.
    pub fn arms(&self, scenario: &Scenario) -> impl Iterator<Item = Arm> {
        let family = scenario.family();
        self.arms.iter().copied().filter(move |arm| arm.suits(family))
    }

    /// The requests of a workload.
    pub fn workload(&self, scenario: &Scenario, seed: u64) -> anyhow::Result<Workload> {
        let source = Source { folder: self.folder.clone(), requests_max: self.requests_max, seed };
        let mut workload = scenario.workload(&source).with_context(|| format!("workload {scenario}"))?;
        let (mut requests, counts_from_s) = (0, workload.counts_from_s);
        workload.sessions.retain(|session| {
            let fits = requests < self.requests_max;
            if session.start_s >= counts_from_s {
                requests += session.turns.len();
            }
            fits
        });
        self.mixture.apply(&mut workload, seed);
        Ok(workload)
    }

    /// Engines and scrapes of a workload.
    pub fn spec(&self, scenario: &Scenario) -> Spec {
        let own = scenario.spec();
        Spec {
            decoders: self.decoders.filter(|_| own.has_transfer).unwrap_or(own.decoders),
            scrape_s: self.scrape_s,
            is_first_failing: self.mixture.failing,
            scrape_late_s: self.mixture.late_scrapes_ms / MS_PER_S,
            failed_scrapes: self.mixture.failed_scrapes,
            ..own
        }
    }
}

fn chosen(all: Vec<Arm>, names: &[String]) -> anyhow::Result<Vec<Arm>> {
    if names.is_empty() {
        return Ok(all);
    }
    let known = || all.iter().map(|arm| arm.name()).collect::<Vec<_>>().join(", ");
    let find = |name: &String| {
        let found = all.iter().find(|arm| arm.name() == *name).copied();
        found.with_context(|| format!("unknown rule {name:?}, known are {}", known()))
    };
    names.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arm::Kind;
    use clap::Parser;

    fn plan(line: &[&str]) -> anyhow::Result<Plan> {
        Plan::of(&Args::try_parse_from(std::iter::once(&"warmpath-sim").chain(line))?)
    }

    #[test]
    fn everything_is_played_unless_told_otherwise() {
        let plan = plan(&[]).unwrap();
        assert_eq!(plan.scenarios, Scenario::all());
        let names: Vec<String> = plan.arms.iter().map(|arm| arm.name()).collect();
        for name in ["round-robin", "warmpath", "warmpath-4", "endless"] {
            assert!(names.iter().any(|found| found == name), "{name} is missing");
        }
        assert!(plan.has_calibration);
    }

    #[test]
    fn a_trace_of_ones_own_is_played_without_the_published_ladders_unless_asked() {
        assert!(!plan(&["--trace", "x.csv"]).unwrap().has_calibration);
        assert!(plan(&["--trace", "x.csv", "--calibration"]).unwrap().has_calibration);
    }

    #[test]
    fn arms_are_chosen_by_name_and_an_unknown_one_names_the_known() {
        let found =
            plan(&["--rules", "endless,warmpath-2", "--proxies", "2", "--workloads", "mixed"]).unwrap();
        assert_eq!(found.arms.iter().map(|arm| arm.kind()).collect::<Vec<_>>(), [Kind::Bound, Kind::Proxies]);
        let error = plan(&["--rules", "magic"]).unwrap_err().to_string();
        assert!(error.contains("magic") && error.contains("llm-d-affinity"), "{error}");
        assert!(plan(&["--workloads", "magic"]).is_err());
    }

    #[test]
    fn engines_that_pass_on_what_they_prefill_have_arms_and_roles_of_their_own() {
        let plan = plan(&["--workloads", "split-long,mooncake", "--decoders", "4"]).unwrap();
        let [split, whole] = &plan.scenarios[..] else { panic!("two were asked for") };
        let names = |scenario| plan.arms(scenario).map(Arm::name).collect::<Vec<_>>();
        let all = "never always llm-d-16 dynamo-2048 warmpath warmpath-4 warmpath-exact warmpath-4-exact warmpath-roles";
        assert_eq!(names(split), all.split(' ').collect::<Vec<_>>());
        assert!(!names(whole).contains(&"never".to_owned()));
        assert_eq!((plan.spec(split).decoders, plan.spec(whole).decoders), (4, 0));
    }
}
