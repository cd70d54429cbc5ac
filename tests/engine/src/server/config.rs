//! The settings of a simulated engine's server.

use crate::model::{Params, Preset, StepTime};
use std::net::{Ipv4Addr, SocketAddr};

/// Tokens to generate when the request names no limit.
const DEFAULT_OUTPUT_TOKENS: usize = 64;

/// Settings of one [`super::EngineServer`]; the default listens on a free port of the loopback.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Sent in the `x-engine` header of every response.
    pub name: String,
    /// Where to listen; port 0 takes a free one and keeps it through faults.
    pub listen: SocketAddr,
    /// The base model's name.
    pub model: String,
    /// Names of LoRA adapters, served as models of their own with caches of their own.
    pub adapters: Vec<String>,
    /// Speed and sizes. [`ServerConfig::time_scale`] changes the speed further.
    pub params: Params,
    /// Speed-up over the parameters; 0 responds immediately.
    pub time_scale: f64,
    /// Tokens of each streamed piece after the first, which has one.
    pub tokens_per_chunk: usize,
    /// Engines with equal seeds generate equal words for equal prompts.
    pub seed: u64,
    /// Tokens to generate when the request names no limit.
    pub default_output_tokens: usize,
    /// Requests that may wait before new ones get 503 (vLLM's `--max-num-queued-reqs`); `None`: no limit.
    pub queued_requests_max: Option<usize>,
}

// === impl ServerConfig ===

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            name: "engine-0".to_owned(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            model: "sim".to_owned(),
            adapters: Vec::new(),
            params: Params::new(Preset::Qwen3On2),
            time_scale: 1.0,
            tokens_per_chunk: 1,
            seed: 0,
            default_output_tokens: DEFAULT_OUTPUT_TOKENS,
            queued_requests_max: None,
        }
    }
}

impl ServerConfig {
    /// An engine that responds immediately.
    pub fn instant() -> Self {
        Self { time_scale: 0.0, ..Self::default() }
    }

    /// The model's parameters and the seconds of model time in a second, with "immediately" applied.
    pub(super) fn timing(&self) -> (Params, f64) {
        if self.time_scale > 0.0 {
            return (self.params.clone(), self.time_scale);
        }
        (Params { step_time: StepTime::instant(), ..self.params.clone() }, 1.0)
    }
}
