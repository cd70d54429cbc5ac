//! The rules by name.

use super::affinity_lmetric::AffinityLmetric;
use super::affinity_marginal::AffinityMarginal;
use super::dynamo::Dynamo;
use super::least_requests::LeastRequests;
use super::llmd_affinity::LlmdAffinity;
use super::llmd_blend::LlmdBlend;
use super::lmetric::Lmetric;
use super::round_robin::RoundRobin;
use super::sglang::Sglang;
use super::{Formula, Rule};
use std::fmt;
use std::str::FromStr;

/// Who chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleName {
    /// Each engine in turn.
    RoundRobin,
    /// The fewest requests under way.
    LeastRequests,
    /// llm-d's blend of scores, 3/2/2.
    LlmdBlend,
    /// llm-d's affinity filter and its token load.
    LlmdAffinity,
    /// Dynamo's cost with its default scale.
    Dynamo,
    /// Dynamo's cost with the scale of its own sweep.
    DynamoTuned,
    /// SGLang's `cache_aware`.
    Sglang,
    /// `LMetric`.
    Lmetric,
    /// The affinity filter, then `LMetric`.
    AffinityLmetric,
    /// The affinity filter, then marginal latency and eviction.
    AffinityMarginal,
    /// Ours: the core that ships.
    Warmpath,
}

/// A name that no rule has.
#[derive(Debug, thiserror::Error)]
#[error("unknown rule {name:?}, known are {known}")]
pub struct UnknownRule {
    name: String,
    known: String,
}

// === impl RuleName ===

impl RuleName {
    /// All rules, ours last.
    pub const ALL: [Self; 11] = [
        Self::RoundRobin,
        Self::LeastRequests,
        Self::LlmdBlend,
        Self::LlmdAffinity,
        Self::Dynamo,
        Self::DynamoTuned,
        Self::Sglang,
        Self::Lmetric,
        Self::AffinityLmetric,
        Self::AffinityMarginal,
        Self::Warmpath,
    ];

    /// The name on the command line and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::LeastRequests => "least-requests",
            Self::LlmdBlend => "llm-d-3-2-2",
            Self::LlmdAffinity => "llm-d-affinity",
            Self::Dynamo => "dynamo",
            Self::DynamoTuned => "dynamo-32",
            Self::Sglang => "sglang",
            Self::Lmetric => "lmetric",
            Self::AffinityLmetric => "affinity-lmetric",
            Self::AffinityMarginal => "affinity-marginal",
            Self::Warmpath => "warmpath",
        }
    }

    /// The rule itself, fresh; `None` for ours, which needs proxies.
    pub fn other(self) -> Option<Box<dyn Rule>> {
        self.formula().map(|formula| -> Box<dyn Rule> { Box::new(formula) })
    }

    /// Its formula, fresh; `None` for ours, which needs proxies.
    pub fn formula(self) -> Option<Box<dyn Formula>> {
        Some(match self {
            Self::RoundRobin => Box::<RoundRobin>::default(),
            Self::LeastRequests => Box::<LeastRequests>::default(),
            Self::LlmdBlend => Box::<LlmdBlend>::default(),
            Self::LlmdAffinity => Box::<LlmdAffinity>::default(),
            Self::Dynamo => Box::new(Dynamo::new(Dynamo::SCALE_DEFAULT)),
            Self::DynamoTuned => Box::new(Dynamo::new(Dynamo::SCALE_TUNED)),
            Self::Sglang => Box::<Sglang>::default(),
            Self::Lmetric => Box::<Lmetric>::default(),
            Self::AffinityLmetric => Box::<AffinityLmetric>::default(),
            Self::AffinityMarginal => Box::<AffinityMarginal>::default(),
            Self::Warmpath => return None,
        })
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for RuleName {
    type Err = UnknownRule;

    fn from_str(name: &str) -> Result<Self, UnknownRule> {
        let known = || Self::ALL.map(Self::name).join(", ");
        let mut all = Self::ALL.into_iter();
        all.find(|rule| rule.name() == name)
            .ok_or_else(|| UnknownRule { name: name.to_owned(), known: known() })
    }
}
