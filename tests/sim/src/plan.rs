//! What is played: workloads, seeds, and the arms beside each other.

use crate::args::Args;
use crate::mixture::Mixture;
use crate::rules::{Endless, Rule, RuleName};
use crate::run::{Played, Spec, play};
use crate::scenario::{Scenario, Source};
use crate::warmpath::{Deployment, NetworkSpec, Proxies, ProxiesSpec};
use crate::workload::Workload;
use anyhow::{Context, bail};
use std::path::PathBuf;
use warmpath_core::cost::Term;

/// Terms of the cost that are left out one at a time, to see what each earns.
pub const ABLATIONS: [Term; Term::ALL.len()] = Term::ALL;

/// KV tokens of an engine of the bound: whatever its requests use at once has room, and what it forgets, it is told
/// again.
const KV_TOKENS_ENDLESS: usize = 1 << 24;

/// What `--quick` plays, and how many requests of each.
const QUICK: ([&str; 3], usize) = (["mooncake", "agentic-24", "ladder-20"], 600);

const MS_PER_S: f64 = 1_000.0;

/// Everything to play.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The workloads.
    pub scenarios: Vec<Scenario>,
    /// What each of them is played with.
    pub arms: Vec<Arm>,
    /// Each is a run of its own.
    pub seeds: Vec<u64>,
    /// Requests of a workload at most.
    pub requests_max: usize,
    /// How often metrics are read, in seconds.
    pub scrape_s: f64,
    /// What else there is to traffic and engines.
    pub mixture: Mixture,
    /// Whether the published ladders are played too.
    pub has_calibration: bool,
    /// The folder of the recorded traces.
    pub folder: PathBuf,
}

/// Who chooses, and what stands around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arm {
    /// Another rule, or ours in one router for which nothing is late.
    Rule(RuleName),
    /// Ours in several routers.
    Proxies(Deployment),
    /// Ours without a term of its cost.
    Without(Term, Deployment),
    /// The bound: engines that share one endless cache, and have room for every adapter.
    Endless,
}

/// What an arm is in a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Another rule, that ours is compared with.
    Other,
    /// Ours.
    Ours,
    /// Ours, under conditions that the others are spared.
    Proxies,
    /// Ours, less a term.
    Ablation,
    /// Ours in several proxies, less the term that only they have.
    ProxiesAblation,
    /// No rule: what none can reach.
    Bound,
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
            scrape_s: args.scrape_ms / MS_PER_S,
            mixture: args.mixture,
            has_calibration: args.calibration || !(args.no_calibration || args.quick || args.trace.is_some()),
            folder: concat!(env!("CARGO_MANIFEST_DIR"), "/data/traces").into(),
        })
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
        Spec {
            scrape_s: self.scrape_s,
            is_first_failing: self.mixture.failing,
            scrape_late_s: self.mixture.late_scrapes_ms / MS_PER_S,
            failed_scrapes: self.mixture.failed_scrapes,
            ..scenario.spec()
        }
    }
}

/// All arms, in the order of reports.
fn arms(args: &Args) -> Vec<Arm> {
    let network = NetworkSpec {
        delay_s: args.delay_ms / MS_PER_S,
        jitter_s: args.jitter_ms / MS_PER_S,
        break_share: args.breaks,
    };
    let deployment = Deployment {
        proxies: args.proxies,
        workers: args.workers,
        network,
        controller_restarts_s: args.controller_restarts_s,
        vm_rebuilds_s: args.vm_rebuilds_s,
    };
    let several = (args.proxies * args.workers > 1).then_some(Arm::Proxies(deployment));
    let rules = RuleName::ALL.into_iter().map(Arm::Rule);
    let without = ABLATIONS.into_iter().filter_map(|term| match term {
        Term::Contention => (args.proxies > 1).then_some(Arm::Without(term, deployment)),
        term => Some(Arm::Without(term, Deployment::EXACT)),
    });
    rules.chain(several).chain(without).chain([Arm::Endless]).collect()
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

// === impl Arm ===

impl Arm {
    /// What an arm without a term is called before the term's name.
    pub const WITHOUT: &str = "without-";

    /// The name on the command line and in reports.
    pub fn name(self) -> String {
        match self {
            Self::Rule(rule) => rule.name().to_owned(),
            Self::Proxies(deployment) => format!("warmpath-{}", deployment.proxies),
            Self::Without(term, ..) => format!("{}{}", Self::WITHOUT, term.label()),
            Self::Endless => "endless".to_owned(),
        }
    }

    /// What it is in a comparison.
    pub fn kind(self) -> Kind {
        match self {
            Self::Rule(RuleName::Warmpath) => Kind::Ours,
            Self::Rule(_) => Kind::Other,
            Self::Proxies(..) => Kind::Proxies,
            Self::Without(_, Deployment::EXACT) => Kind::Ablation,
            Self::Without(..) => Kind::ProxiesAblation,
            Self::Endless => Kind::Bound,
        }
    }

    /// Plays a workload.
    pub fn play(self, spec: &Spec, workload: &Workload, seed: u64) -> Played {
        let play = |spec: &Spec, rule: &mut dyn Rule| play(spec, workload, rule);
        let ours = |spec: &Spec, proxies: ProxiesSpec| play(spec, &mut Proxies::new(proxies, spec));
        let exact = ProxiesSpec::exact(seed);
        match self {
            Self::Rule(rule) => match rule.other() {
                Some(mut rule) => play(spec, rule.as_mut()),
                None => ours(spec, exact),
            },
            Self::Proxies(deployment) => ours(spec, ProxiesSpec { deployment, ..exact }),
            Self::Without(term, deployment) => {
                ours(spec, ProxiesSpec { deployment, weights: exact.weights.without(term), ..exact })
            }
            Self::Endless => {
                let mut spec = Spec { is_endless: true, ..spec.clone() };
                for engine in &mut spec.engines {
                    engine.kv_tokens = KV_TOKENS_ENDLESS;
                    engine.adapters_max = usize::MAX;
                }
                play(&spec, &mut Endless::default())
            }
        }
    }
}

// === impl Kind ===

impl Kind {
    /// What it is held against, if it is ours less a term.
    pub fn whole(self) -> Option<Self> {
        match self {
            Self::Ablation => Some(Self::Ours),
            Self::ProxiesAblation => Some(Self::Proxies),
            Self::Other | Self::Ours | Self::Proxies | Self::Bound => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
