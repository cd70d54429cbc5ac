//! The pools by name: which engines traffic meets, beside the [scenarios](crate::scenario) that play it on them.
//!
//! Apart from the traffic, so that a user's own trace can be played on any of them (`--pool`).

use crate::run::Spec;
use std::fmt;
use std::str::FromStr;
use warmpath_engine::Preset;
use warmpath_engine::model::{Params, Tier, TierParams};

/// Tokens of a KV block: what llm-d's guides set for the engines that its published ladders were measured on.
pub const BLOCK_TOKENS: usize = 64;
/// Engines of every pool.
pub(crate) const ENGINES: usize = 8;
/// KV tokens of an engine where the cache is to hold everything: with a CPU tier of the usual size.
const KV_TOKENS_AMPLE: usize = 3_000_000;
/// Tokens of a CPU tier: 262 GB of Qwen3-32B's keys and values. A DGX H100 has 2 TB of host memory for four engines
/// on two GPUs each; half of an engine's part is given to the cache.
const CPU_TOKENS: usize = 1_000_000;
/// LoRA adapters that a batch may mix where there are any: vLLM's default of 1 is for a single one.
const ADAPTERS: usize = 8;
/// Engines that join.
const JOINERS: usize = 4;
/// When they are started, in seconds: all at once, as an autoscaler does it, so that they join in the middle of the
/// Mooncake trace twice as fast.
const START_S: f64 = 825.0;
/// Seconds from the start of an engine until it serves: reading 16 GB of weights, compiling, capturing graphs.
const STARTUP_S: f64 = 60.0;
/// Engines that only decode, for rules that need engines of one part each.
const DECODERS: usize = 3;

/// Engines that serve the same model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pool {
    /// Eight times Qwen3-32B on two H100, with the KV room of the published runs.
    #[default]
    Qwen,
    /// Half of those engines.
    QwenHalf,
    /// The first, each with a CPU tier below its GPUs.
    QwenTiers,
    /// Those of the first, with room for eight LoRA adapters in a batch.
    QwenLora,
    /// Eight times Llama-3.1-8B on one H100, with KV room for everything.
    LlamaAmple,
    /// Four times Qwen3-32B, and four that are half as fast.
    Unequal,
    /// Four times Llama-3.1-8B with KV room for everything, and four that join after a while, with empty caches.
    Growing,
    /// Eight times Qwen3-32B on two H100 that fetch from each other what they prefill; of those, three only decode for
    /// rules that need fixed roles.
    Split,
}

/// A name that no pool has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown pool {name:?}, known are {}", Pool::ALL.map(Pool::name).join(", "))]
pub struct UnknownPool {
    name: String,
}

// === impl Pool ===

impl Pool {
    /// All pools.
    pub const ALL: [Self; 8] = [
        Self::Qwen,
        Self::QwenHalf,
        Self::QwenTiers,
        Self::QwenLora,
        Self::LlamaAmple,
        Self::Unequal,
        Self::Growing,
        Self::Split,
    ];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Qwen => "qwen",
            Self::QwenHalf => "qwen-half",
            Self::QwenTiers => "qwen-tiers",
            Self::QwenLora => "qwen-lora",
            Self::LlamaAmple => "llama-ample",
            Self::Unequal => "unequal",
            Self::Growing => "growing",
            Self::Split => "split",
        }
    }

    /// The engines, and how they are looked at.
    pub fn spec(self) -> Spec {
        let engine =
            |preset| Params { block_tokens: BLOCK_TOKENS, emits_tokens: false, ..Params::new(preset) };
        let qwen = engine(Preset::Qwen3On2);
        let ample = Params { kv_tokens: KV_TOKENS_AMPLE, ..engine(Preset::Llama8On1) };
        match self {
            Self::Qwen => Spec::new(vec![qwen; ENGINES]),
            Self::QwenHalf => Spec::new(vec![qwen; ENGINES / 2]),
            Self::QwenTiers => {
                let tiers = vec![TierParams::new(Preset::Qwen3On2, Tier::Cpu, CPU_TOKENS)];
                Spec::new(vec![Params { tiers, ..qwen }; ENGINES])
            }
            Self::QwenLora => Spec::new(vec![Params { adapters_max: ADAPTERS, ..qwen }; ENGINES]),
            Self::LlamaAmple => Spec::new(vec![ample; ENGINES]),
            Self::Split => Spec { decoders: DECODERS, has_transfer: true, ..Spec::new(vec![qwen; ENGINES]) },
            Self::Growing => {
                let engines = vec![Params { startup_s: STARTUP_S, ..ample }; ENGINES];
                Spec { starts_s: vec![START_S; JOINERS], ..Spec::new(engines) }
            }
            Self::Unequal => {
                let slow = Params { step_time: qwen.step_time.clone().slower(2.0), ..qwen.clone() };
                let both = |at: usize| if at.is_multiple_of(2) { qwen.clone() } else { slow.clone() };
                Spec::new((0..ENGINES).map(both).collect())
            }
        }
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Pool {
    type Err = UnknownPool;

    fn from_str(name: &str) -> Result<Self, UnknownPool> {
        let found = Self::ALL.into_iter().find(|pool| pool.name() == name);
        found.ok_or_else(|| UnknownPool { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pool_has_a_name_of_its_own_and_an_unknown_one_names_the_known() {
        for pool in Pool::ALL {
            assert_eq!(pool.name().parse(), Ok(pool));
        }
        let error = "magic".parse::<Pool>().unwrap_err().to_string();
        assert!(error.contains("magic") && error.contains("qwen-tiers"), "{error}");
    }
}
