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
}

/// A name that no arm has.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown arm {0:?}, known are round-robin, least-request, warmpath")]
pub struct UnknownArm(String);

// === impl Arm ===

impl Arm {
    /// All arms, the plain ones first.
    pub const ALL: [Self; 3] = [Self::RoundRobin, Self::LeastRequest, Self::Warmpath];

    /// The name in reports and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::LeastRequest => "least-request",
            Self::Warmpath => "warmpath",
        }
    }

    /// A shorter name that the command line takes, too.
    pub const fn short(self) -> &'static str {
        match self {
            Self::RoundRobin => "rr",
            Self::LeastRequest => "lr",
            Self::Warmpath => "warmpath",
        }
    }

    /// Envoy's own policy; `None` with the filter.
    pub const fn plain(self) -> Option<Lb> {
        match self {
            Self::RoundRobin => Some(Lb::RoundRobin),
            Self::LeastRequest => Some(Lb::LeastRequest),
            Self::Warmpath => None,
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
        let mut arms = Self::ALL.into_iter();
        arms.find(|arm| arm.short() == name || arm.name() == name).ok_or_else(|| UnknownArm(name.to_owned()))
    }
}
