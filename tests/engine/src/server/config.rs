//! The settings of a simulated engine's server.

use super::{events::KvEvents, fault::Fault, legs::Transfer};
use crate::{
    api::MediaTokens,
    model::{LoadTime, Params, Preset, StepTime},
};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Tokens to generate when the request names no limit.
const DEFAULT_OUTPUT_TOKENS: usize = 64;

/// When a stream begins: its head and the events that precede the first token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Opening {
    /// With the first token, as vLLM's, except `response.created` and `response.in_progress`, which come at once.
    #[default]
    AsVllm,
    /// At once, as those of SGLang and of gateways: the role's chunk and `message_start` say nothing of a token.
    AtOnce,
}

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
    /// How many tokens images and the like become.
    pub media: MediaTokens,
    /// When a stream begins.
    pub opening: Opening,
    /// Time between comments in a stream that waits for a token, which then begins at once; `None`: no comments.
    pub comment_interval: Option<Duration>,
    /// Whether prompts find what earlier ones left (vLLM's `--no-enable-prefix-caching`).
    pub prefix_caching: bool,
    /// Its part in requests that two engines serve together; `None`: it overlooks what they say about that, as vLLM does
    /// without a connector. How long a transfer takes, and how long a prompt is kept, is in [`Params`].
    pub transfer: Option<Transfer>,
    /// A folder with a model's `tokenizer.json` and `tokenizer_config.json`: prompts become its tokens, and chats are rendered
    /// by its template. `None`: four bytes are a token.
    pub model_dir: Option<PathBuf>,
    /// How long each part of a wake takes, where the engine has vLLM's sleep mode and its development endpoints; `None`: it has neither.
    pub wake_time: Option<Duration>,
    /// Whether each sleep fails after it has begun.
    pub sleep_fails: bool,
    /// Whether and how the engine publishes what its cache holds.
    pub events: Option<KvEvents>,
    /// Faults from the start on.
    pub faults: Vec<Fault>,
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
            media: MediaTokens::default(),
            opening: Opening::default(),
            comment_interval: None,
            prefix_caching: true,
            transfer: None,
            model_dir: None,
            wake_time: None,
            sleep_fails: false,
            events: None,
            faults: Vec::new(),
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
        let params = self.params.clone();
        (Params { step_time: StepTime::instant(), transfer: LoadTime::INSTANT, ..params }, 1.0)
    }
}
