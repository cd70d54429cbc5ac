//! The arms of a comparison: who chooses the engine.

use std::{fmt, str::FromStr};
use warmpath_envoy::resources::Lb;

/// Who chooses the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arm {
    /// Envoy, each engine in turn.
    RoundRobin,
    /// Envoy, the less busy of two random engines.
    LeastRequest,
    /// The filter, with its controller.
    Warmpath,
    /// The same, where each engine prefills and decodes its own requests.
    Together,
    /// The same, where one half of the engines prefills and the other decodes.
    Apart,
    /// The same, where each engine may prefill and decode for others, too.
    Either,
    /// The same as `Warmpath`, where nobody waits in the proxy.
    AllAtOnce,
    /// The same, where requests wait in the proxy for room in the caches.
    Held,
}

/// A side of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What it is about.
    Ours,
    /// What that is compared with.
    Plain,
}

/// A name that no arm has.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown arm {0:?}, known are round-robin, least-request, warmpath; of `demo pd` together, apart, either; of `demo agents` all-at-once, held"
)]
pub struct UnknownArm(String);

// === impl Arm ===

impl Arm {
    /// The arms that differ in who chooses, the plain ones first.
    pub const ALL: [Self; 3] = [Self::RoundRobin, Self::LeastRequest, Self::Warmpath];

    /// The arms that differ in the legs that engines take.
    pub const LEGS: [Self; 3] = [Self::Together, Self::Apart, Self::Either];

    /// The arms that differ in what waits in the proxy.
    pub const HOLDS: [Self; 2] = [Self::AllAtOnce, Self::Held];

    /// The name in reports and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::LeastRequest => "least-request",
            Self::Warmpath => "warmpath",
            Self::Together => "together",
            Self::Apart => "apart",
            Self::Either => "either",
            Self::AllAtOnce => "all-at-once",
            Self::Held => "held",
        }
    }

    /// A shorter name that the command line takes, too.
    pub const fn short(self) -> &'static str {
        match self {
            Self::RoundRobin => "rr",
            Self::LeastRequest => "lr",
            Self::Warmpath | Self::Together | Self::Apart | Self::Either | Self::AllAtOnce | Self::Held => {
                self.name()
            }
        }
    }

    /// Envoy's own policy; `None` with the filter.
    pub const fn plain(self) -> Option<Lb> {
        match self {
            Self::RoundRobin => Some(Lb::RoundRobin),
            Self::LeastRequest => Some(Lb::LeastRequest),
            Self::Warmpath | Self::Together | Self::Apart | Self::Either | Self::AllAtOnce | Self::Held => {
                None
            }
        }
    }

    /// Whether a comparison is about this arm, or what it is compared with; neither of an arm that only stands beside them.
    pub const fn side(self) -> Option<Side> {
        match self {
            Self::Warmpath | Self::Apart | Self::Held => Some(Side::Ours),
            Self::RoundRobin | Self::LeastRequest | Self::Together | Self::AllAtOnce => Some(Side::Plain),
            Self::Either => None,
        }
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Arm {
    type Err = UnknownArm;

    fn from_str(name: &str) -> Result<Self, UnknownArm> {
        let mut arms = Self::ALL.into_iter().chain(Self::LEGS).chain(Self::HOLDS);
        arms.find(|arm| arm.short() == name || arm.name() == name).ok_or_else(|| UnknownArm(name.to_owned()))
    }
}
