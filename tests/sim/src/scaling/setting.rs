//! What is played: models with their starts and objectives, and the command's options.

use warmpath_engine::model::{Params, Preset, StepLoad, StepTime};
use warmpath_scale::{Objectives, Speeds};

/// Tokens of context by which the slope of a decode step is read.
const CONTEXT_TOKENS: usize = 100_000;
/// Requests in a batch, likewise.
const BATCH: usize = 65;

/// Options of the command.
#[derive(Clone, Debug)]
pub struct Options {
    /// Seeds.
    pub seeds: Vec<u64>,
    /// Only a few hours, to see whether it runs.
    pub is_quick: bool,
    /// The policies to play; empty: all.
    pub policies: Vec<String>,
}

/// A model on its engines.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) name: &'static str,
    pub(super) gpus: f64,
    pub(super) step_time: StepTime,
    pub(super) kv_tokens: f64,
    pub(super) batched_tokens_max: usize,
    /// A pod becomes ready after so many seconds, at least and at most.
    pub(super) start_s: (f64, f64),
    pub(super) objectives: Objectives,
    /// Requests a second at the day's peak.
    pub(super) peak_per_s: f64,
    /// Engines that there may be.
    pub(super) engines_max: u32,
}

// === impl Model ===

impl Model {
    /// Two models: a small one that starts in less than two minutes, and a large one that takes from three to seven, as published.
    pub(super) fn both() -> [Self; 2] {
        [
            Self::of(Preset::Llama8On1, "llama-8b", (90.0, 120.0), (1.0, 0.04), 20.0),
            Self::of(Preset::Qwen3On2, "qwen-32b", (180.0, 420.0), (2.0, 0.05), 12.0),
        ]
    }

    fn of(
        preset: Preset,
        name: &'static str,
        start_s: (f64, f64),
        (ttft_s, inter_token_s): (f64, f64),
        peak_per_s: f64,
    ) -> Self {
        let params = Params::new(preset);
        Self {
            name,
            gpus: preset.gpus() as f64,
            kv_tokens: params.kv_tokens as f64,
            batched_tokens_max: params.batched_tokens_max,
            step_time: params.step_time,
            start_s,
            objectives: Objectives { ttft_s, inter_token_s },
            peak_per_s,
            engines_max: 24,
        }
    }

    /// The mean start.
    pub(super) fn wake_s(&self) -> f64 {
        f64::midpoint(self.start_s.0, self.start_s.1)
    }

    /// Its speeds, as they are: what is learned of them in a day has come close.
    pub(super) fn speeds(&self) -> Speeds {
        let decode = |decodes, context_tokens| {
            self.step_time.seconds(&StepLoad { decodes, context_tokens, ..StepLoad::default() })
        };
        let full = self.batched_tokens_max;
        Speeds {
            prefill_s_per_token: self.step_time.prefill_seconds(full, 0, full) / full as f64,
            step_s: decode(1, 0),
            step_s_per_request: (decode(BATCH, 0) - decode(1, 0)) / (BATCH - 1) as f64,
            step_s_per_context_token: (decode(1, CONTEXT_TOKENS) - decode(1, 0)) / CONTEXT_TOKENS as f64,
            kv_tokens: self.kv_tokens,
            wake_s: self.wake_s(),
        }
    }
}
