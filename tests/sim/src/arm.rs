//! The arms of a comparison: who chooses, and what stands around it.

use crate::args::Args;
use crate::rules::{Apart, Concur, ConcurSettings, Endless, Fixed, Line, LlmdGate, Programs, Rule, RuleName};
use crate::run::{Played, Spec, play};
use crate::scenario::Family;
use crate::warmpath::{Deployment, NetworkSpec, Proxies, ProxiesSpec, ReportsSpec};
use crate::workload::Workload;
use warmpath_core::cost::Term;

/// Terms of the cost that are left out one at a time, to see what each earns: those that whole requests have.
pub const ABLATIONS: [Term; 7] =
    [Term::Queue, Term::Prefill, Term::Contention, Term::Later, Term::Stall, Term::Decode, Term::Evict];

/// How long requests may wait for room, in seconds: what an operator accepts.
pub const WAITS_S: [u32; 2] = [120, WAIT_S];
const WAIT_S: u32 = 300;

/// KV tokens of an engine of the bound: whatever its requests use at once has room, and what it forgets, it is told
/// again.
const KV_TOKENS_ENDLESS: usize = 1 << 24;

const MS_PER_S: f64 = 1_000.0;

/// Who chooses, and what stands around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arm {
    /// Another rule, or ours in one router for which nothing is late.
    Rule(RuleName),
    /// Ours in several routers.
    Proxies(Deployment),
    /// Ours, where engines report what they hold.
    Reported(ReportsSpec, Deployment),
    /// Ours without a term of its cost.
    Without(Term, Deployment),
    /// The bound: engines that share one endless cache, and have room for every adapter.
    Endless,
    /// Another rule that lets requests wait.
    Holding(HoldingName),
    /// Ours, whose requests may wait for room so many seconds.
    Held(u32, Deployment),
    /// Where engines could pass on what they prefill: none does. Ours chooses among all of them.
    Never,
    /// Where they can: another rule, on engines that have one part each.
    Fixed(FixedName),
    /// Ours on such engines.
    Roles,
}

/// The fixed rules for prefill and decode apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FixedName {
    /// Every request.
    Always,
    /// llm-d's `prefix-based-pd-decider`.
    Llmd,
    /// Dynamo's conditional disaggregation.
    Dynamo,
}

/// The other rules that let requests wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldingName {
    /// So many requests at an engine at most.
    Fixed(usize),
    /// llm-d's saturation detector.
    LlmdGate,
    /// A window of active programs.
    Concur,
    /// Programs that are paused by their tokens.
    Programs,
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
    /// Another rule that lets requests wait.
    Holding,
    /// Ours, whose requests may wait for room.
    Held,
    /// The same under conditions that the others are spared.
    HeldProxies,
    /// Ours, on engines that have the roles that other rules need.
    Roles,
    /// Ours, with engines that report what they hold.
    Reported,
    /// The same under conditions that the others are spared.
    ReportedProxies,
    /// Ours, less a term.
    Ablation,
    /// Ours in several proxies, less the term that only they have.
    ProxiesAblation,
    /// No rule: what none can reach.
    Bound,
}

/// All arms, in the order of reports.
pub(crate) fn arms(args: &Args) -> Vec<Arm> {
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
    let fixed = FixedName::ALL.into_iter().map(Arm::Fixed);
    let rules = RuleName::ALL.into_iter().map(Arm::Rule);
    let without = ABLATIONS.into_iter().filter_map(|term| match term {
        Term::Contention => (args.proxies > 1).then_some(Arm::Without(term, deployment)),
        term => Some(Arm::Without(term, Deployment::EXACT)),
    });
    let others = std::iter::once(Arm::Never).chain(fixed);
    let held = |deployment: Deployment| WAITS_S.into_iter().map(move |room_s| Arm::Held(room_s, deployment));
    let held_several = held(deployment).filter(|_| several.is_some());
    let reports = ReportsSpec { delay_s: args.reports_ms / MS_PER_S, lost_share: args.lost_reports };
    let reported = |deployment| Arm::Reported(reports, deployment);
    let reported_several = several.map(|_| reported(deployment));
    let ours = several.into_iter().chain([reported(Deployment::EXACT)]).chain(reported_several);
    let ours = ours.chain(held(Deployment::EXACT)).chain(held_several);
    let holding = HoldingName::ALL.map(Arm::Holding);
    let all = others.chain(rules).chain(holding).chain(ours).chain([Arm::Roles]);
    all.chain(without).chain([Arm::Endless]).collect()
}

// === impl FixedName ===

impl FixedName {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Always, Self::Llmd, Self::Dynamo];

    /// The name on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Llmd => "llm-d-16",
            Self::Dynamo => "dynamo-2048",
        }
    }

    fn rule(self) -> Apart {
        match self {
            Self::Always => Apart::always(),
            Self::Llmd => Apart::llmd(),
            Self::Dynamo => Apart::dynamo(),
        }
    }
}

// === impl HoldingName ===

impl HoldingName {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Fixed(4), Self::Fixed(6), Self::Fixed(8), Self::LlmdGate, Self::Concur, Self::Programs];

    /// The name on the command line and in reports.
    pub fn name(self) -> String {
        match self {
            Self::Fixed(requests) => format!("fixed-{requests}"),
            Self::LlmdGate => "llm-d-gate".to_owned(),
            Self::Concur => "concur".to_owned(),
            Self::Programs => "program-pause".to_owned(),
        }
    }

    fn rule(self, engines: usize) -> Box<dyn Rule> {
        match self {
            Self::Fixed(requests) => Box::new(Line::new(Fixed::new(requests))),
            Self::LlmdGate => Box::new(Line::new(LlmdGate)),
            Self::Concur => Box::new(Concur::new(engines, ConcurSettings::PUBLISHED)),
            Self::Programs => Box::<Programs>::default(),
        }
    }
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
            Self::Reported(_, Deployment::EXACT) => "warmpath-exact".to_owned(),
            Self::Reported(_, deployment) => format!("warmpath-{}-exact", deployment.proxies),
            Self::Without(term, ..) => format!("{}{}", Self::WITHOUT, term.label()),
            Self::Endless => "endless".to_owned(),
            Self::Holding(name) => name.name(),
            Self::Held(room_s, Deployment::EXACT) => format!("warmpath-held-{room_s}"),
            Self::Held(room_s, deployment) => format!("warmpath-{}-held-{room_s}", deployment.proxies),
            Self::Never => "never".to_owned(),
            Self::Fixed(name) => name.name().to_owned(),
            Self::Roles => "warmpath-roles".to_owned(),
        }
    }

    /// What it is in a comparison.
    pub fn kind(self) -> Kind {
        match self {
            Self::Rule(RuleName::Warmpath) => Kind::Ours,
            Self::Rule(_) | Self::Never | Self::Fixed(_) => Kind::Other,
            Self::Proxies(..) => Kind::Proxies,
            Self::Reported(_, Deployment::EXACT) => Kind::Reported,
            Self::Reported(..) => Kind::ReportedProxies,
            Self::Roles => Kind::Roles,
            Self::Holding(_) => Kind::Holding,
            Self::Held(_, Deployment::EXACT) => Kind::Held,
            Self::Held(..) => Kind::HeldProxies,
            Self::Without(_, Deployment::EXACT) => Kind::Ablation,
            Self::Without(..) => Kind::ProxiesAblation,
            Self::Endless => Kind::Bound,
        }
    }

    /// Whether it is played on workloads of a family.
    pub fn suits(self, family: Family) -> bool {
        match self {
            Self::Rule(RuleName::Warmpath) | Self::Proxies(_) | Self::Reported(..) => true,
            Self::Never | Self::Fixed(_) | Self::Roles => family == Family::Split,
            // Where every request is sent at once, a gate has to cost nothing.
            Self::Rule(_) | Self::Held(WAIT_S, Deployment::EXACT) => family != Family::Split,
            Self::Holding(_) | Self::Held(..) => family == Family::Held,
            Self::Without(..) | Self::Endless => family == Family::Whole,
        }
    }

    /// Plays a workload.
    pub fn play(self, spec: &Spec, workload: &Workload, seed: u64) -> Played {
        let play = |spec: &Spec, rule: &mut dyn Rule| play(spec, workload, rule);
        let ours = |spec: &Spec, proxies: ProxiesSpec| play(spec, &mut Proxies::new(proxies, spec));
        let exact = ProxiesSpec::exact(seed);
        // Only fixed rules need engines that have one part each.
        let equal = Spec { decoders: 0, ..spec.clone() };
        match self {
            Self::Rule(rule) => match rule.other() {
                Some(mut rule) => play(&equal, rule.as_mut()),
                None => ours(&equal, exact),
            },
            Self::Proxies(deployment) => ours(&equal, ProxiesSpec { deployment, ..exact }),
            Self::Reported(reports, deployment) => {
                ours(&equal, ProxiesSpec { deployment, reports: Some(reports), ..exact })
            }
            Self::Without(term, deployment) => {
                ours(&equal, ProxiesSpec { deployment, weights: exact.weights.without(term), ..exact })
            }
            Self::Endless => {
                let mut spec = Spec { is_endless: true, ..equal };
                for engine in &mut spec.engines {
                    engine.kv_tokens = KV_TOKENS_ENDLESS;
                    engine.adapters_max = usize::MAX;
                }
                play(&spec, &mut Endless::default())
            }
            Self::Holding(name) => play(&equal, name.rule(equal.first()).as_mut()),
            Self::Held(room_s, deployment) => ours(&equal, ProxiesSpec { deployment, room_s, ..exact }),
            Self::Never => ours(&Spec { has_transfer: false, ..equal }, exact),
            Self::Fixed(name) => play(spec, &mut name.rule()),
            Self::Roles => ours(spec, exact),
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
            _ => None,
        }
    }
}
