//! The properties of an engine: its speed and its sizes.

use super::{load::LoadTime, steptime::StepTime, tier::TierParams};
use std::{fmt, str::FromStr};

/// Tokens a step may compute; vLLM's default for its API server on data-centre GPUs.
const BATCHED_TOKENS_MAX: usize = 8_192;
/// Requests that may run at once; vLLM's default on GPUs of 70 GB and more.
const RUNNING_MAX: usize = 1_024;
/// Tokens a KV block; vLLM's default on CUDA.
const BLOCK_TOKENS: usize = 16;

/// Adapters a batch may mix; vLLM's default of `max_loras`.
const ADAPTERS_MAX: usize = 1;
/// Seconds to load an adapter: 0.54 GB, which is rank 32 on all matrices of Qwen3-32B, from one NVMe drive.
const ADAPTER_LOAD_S: f64 = 0.077;
/// Seconds that a prefill's blocks wait for their fetch; vLLM's default of `kv_lease_duration`.
const HELD_S_MAX: f64 = 30.0;

/// The fixed properties of an engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Params {
    /// How long steps take.
    pub step_time: StepTime,
    /// KV-cache capacity in tokens; rounded down to whole blocks.
    pub kv_tokens: usize,
    /// Tokens a block.
    pub block_tokens: usize,
    /// Tokens that one step may compute (vLLM's `max_num_batched_tokens`).
    pub batched_tokens_max: usize,
    /// Requests that may run at once (vLLM's `max_num_seqs`).
    pub running_max: usize,
    /// Largest relative change of a step's duration, either way: 0.1 spreads evenly over 0.9 to 1.1.
    /// Zero, the default, leaves durations exact.
    pub jitter: f64,
    /// Seed of the jitter.
    pub seed: u64,
    /// Bytes of keys and values a token: what loads and transfers carry.
    pub kv_token_bytes: f64,
    /// Tiers below the GPU, the nearest first; none by default.
    pub tiers: Vec<TierParams>,
    /// How long the blocks of a prompt take from the engine that prefilled it to this one.
    pub transfer: LoadTime,
    /// Seconds that the blocks of a [`super::Leg::Prefill`] wait for [`super::Engine::release_held`].
    pub held_s_max: f64,
    /// Adapters that a batch may mix, and that stay on the GPU (vLLM's `max_loras`).
    pub adapters_max: usize,
    /// Seconds by which a step takes longer for each adapter that is not on the GPU yet.
    pub adapter_load_s: f64,
    /// Seconds from the start of an engine to its first step, see [`super::Engine::starting_at`].
    pub startup_s: f64,
    /// Whether to emit [`super::EventKind::Token`]. Nearly all events are of that kind; a driver that needs only first
    /// tokens and ends can do without them.
    pub emits_tokens: bool,
}

// === impl Params ===

impl Params {
    /// The engine of a preset, with vLLM's default limits.
    pub fn new(preset: Preset) -> Self {
        Self {
            step_time: preset.step_time(),
            kv_tokens: preset.kv_tokens(),
            block_tokens: BLOCK_TOKENS,
            batched_tokens_max: BATCHED_TOKENS_MAX,
            running_max: RUNNING_MAX,
            jitter: 0.0,
            seed: 0,
            kv_token_bytes: preset.kv_token_bytes(),
            tiers: Vec::new(),
            transfer: LoadTime::RDMA_200G,
            held_s_max: HELD_S_MAX,
            adapters_max: ADAPTERS_MAX,
            adapter_load_s: ADAPTER_LOAD_S,
            startup_s: 0.0,
            emits_tokens: true,
        }
    }

    /// How many blocks the cache has.
    pub fn blocks(&self) -> usize {
        self.kv_tokens / self.block_tokens
    }
}

/// Known set-ups on H100. Capacities of the first and the third are those of the published llm-d runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Qwen3-32B on two GPUs.
    Qwen3On2,
    /// Llama-3.1-8B on one GPU.
    Llama8On1,
    /// Llama-3.1-70B on four GPUs.
    Llama70On4,
    /// No time at all, with the capacity of the first: for measuring everything in front of the engine.
    Instant,
}

// === impl Preset ===

impl Preset {
    /// All presets.
    pub const ALL: [Self; 4] = [Self::Qwen3On2, Self::Llama8On1, Self::Llama70On4, Self::Instant];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Qwen3On2 => "qwen3-32b-tp2",
            Self::Llama8On1 => "llama-3.1-8b-tp1",
            Self::Llama70On4 => "llama-3.1-70b-tp4",
            Self::Instant => "instant",
        }
    }

    /// Bytes of keys and values a token, in 16-bit numbers, on all GPUs together.
    pub const fn kv_token_bytes(self) -> f64 {
        match self {
            Self::Qwen3On2 | Self::Instant => 262_144.0,
            Self::Llama8On1 => 131_072.0,
            Self::Llama70On4 => 327_680.0,
        }
    }

    /// GPUs of one engine.
    pub const fn gpus(self) -> usize {
        match self {
            Self::Llama8On1 => 1,
            Self::Qwen3On2 | Self::Instant => 2,
            Self::Llama70On4 => 4,
        }
    }

    const fn kv_tokens(self) -> usize {
        match self {
            Self::Qwen3On2 | Self::Instant => 307_328,
            Self::Llama8On1 => 360_000,
            Self::Llama70On4 => 461_376,
        }
    }

    fn step_time(self) -> StepTime {
        match self {
            Self::Qwen3On2 => StepTime::calibrated("qwen3_32b_tp2"),
            Self::Llama8On1 => StepTime::calibrated("llama31_8b_tp1"),
            Self::Llama70On4 => StepTime::calibrated("llama31_70b_tp4"),
            Self::Instant => StepTime::instant(),
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A preset name that does not exist.
#[derive(Debug, thiserror::Error)]
#[error("unknown preset {0:?}, known are qwen3-32b-tp2, llama-3.1-8b-tp1, llama-3.1-70b-tp4, instant")]
pub struct UnknownPreset(String);

impl FromStr for Preset {
    type Err = UnknownPreset;

    fn from_str(name: &str) -> Result<Self, UnknownPreset> {
        Self::ALL
            .into_iter()
            .find(|preset| preset.name() == name)
            .ok_or_else(|| UnknownPreset(name.to_owned()))
    }
}
