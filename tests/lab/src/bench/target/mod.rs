//! Who is measured: three Envoys that differ in one filter, and the routers that other projects publish.

mod envoy;
mod fleet;
mod peer;

use std::{fmt, str::FromStr};

pub(crate) use envoy::EnvoySpec;
pub use fleet::{Fleet, Runner};
pub(crate) use peer::Peer;
pub use peer::version;

/// Engines behind each target, where requests are measured.
pub const ENGINES: usize = 8;

/// Who stands between the client and the engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Envoy, which passes the body on as it comes.
    Plain,
    /// Envoy with its own buffer filter, which holds the body and does nothing with it: the least that choosing by the
    /// body can cost.
    Buffer,
    /// Envoy with the filter, and its controller.
    Warmpath,
    /// sglang-router, `cache_aware`.
    SglangRouter,
    /// vllm-router, `cache_aware`. It asks every engine for the prompt's tokens first.
    VllmRouter,
    /// Shepherd Model Gateway, `cache_aware`.
    Smg,
}

/// A name that no target has.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownTarget(String);

impl Target {
    /// All of them, ours after the two that it is held against.
    pub const ALL: [Self; 6] =
        [Self::Plain, Self::Buffer, Self::Warmpath, Self::SglangRouter, Self::VllmRouter, Self::Smg];

    /// The name on the command line and in reports; that of a peer is its package's.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Buffer => "buffer",
            Self::Warmpath => "warmpath",
            Self::SglangRouter => "sglang-router",
            Self::VllmRouter => "vllm-router",
            Self::Smg => "smg",
        }
    }

    /// Who that is, for whoever reads a table.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Plain => {
                "Envoy as it is: it passes the body on as it comes, and sends each request to the next engine"
            }
            Self::Buffer => {
                "plain Envoy with its own buffer filter, which holds the body and does nothing with it: the least that \
                 choosing by the body can cost"
            }
            Self::Warmpath => "Envoy with the filter, and its controller beside it",
            Self::SglangRouter => "SGLang's router, policy cache_aware",
            Self::VllmRouter => {
                "vLLM's router, policy cache_aware: it asks every engine for the prompt's tokens first"
            }
            Self::Smg => "Shepherd Model Gateway, policy cache_aware",
        }
    }

    /// Whether it is another project's router.
    pub const fn is_peer(self) -> bool {
        matches!(self, Self::SglangRouter | Self::VllmRouter | Self::Smg)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl serde::Serialize for Target {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl FromStr for Target {
    type Err = UnknownTarget;

    fn from_str(name: &str) -> Result<Self, UnknownTarget> {
        let mut all = Self::ALL.into_iter();
        all.find(|target| target.name() == name).ok_or_else(|| UnknownTarget(name.to_owned()))
    }
}

impl fmt::Display for UnknownTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown target {:?}, known are {}", self.0, Target::ALL.map(Target::name).join(", "))
    }
}

impl std::error::Error for UnknownTarget {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_finds_its_target_and_others_are_refused() {
        for target in Target::ALL {
            assert_eq!(target.name().parse(), Ok(target));
        }
        let refused = "haproxy".parse::<Target>().unwrap_err().to_string();
        assert!(refused.contains("haproxy") && refused.contains("sglang-router"), "{refused}");
    }
}
