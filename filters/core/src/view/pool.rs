//! A pool: the endpoints that serve the same models, and the ratio of text to tokens.

use crate::ids::Slot;
use crate::limits::BYTES_PER_TOKEN_DEFAULT;
use crate::num::{count, float};
use crate::wire;

/// The model name that matches any model.
const ANY_MODEL: &str = "*";
/// Weight of the newest observation in the learned ratio.
const RATIO_WEIGHT: f64 = 0.05;
/// Prompt bytes that an observation must span: templates and special tokens distort short ones.
const RATIO_BYTES_MIN: u64 = 512;
/// Bounds of a believable ratio, bytes per token.
const BYTES_PER_TOKEN_MIN: f64 = 0.5;
const BYTES_PER_TOKEN_MAX: f64 = 16.0;
/// Share of cached prompt tokens before any usage is observed: that of the Mooncake conversation trace.
const REUSE_SHARE_DEFAULT: f64 = 0.37;
/// Tokens of a prompt that says something about the share: shorter ones fill hardly a block.
const REUSE_TOKENS_MIN: u64 = 128;
/// Weight of the newest response in the learned share.
const REUSE_WEIGHT: f64 = 0.02;
/// Tokens of a response before any usage is observed: the mean of the Azure conversation trace of 2023 is 211, that of
/// Mooncake's conversations 343.
const OUTPUT_TOKENS_DEFAULT: f64 = 256.0;
/// The longest plausible response, in tokens: the largest contexts of today's models are several times as long.
const OUTPUT_TOKENS_MAX: u64 = 131_072;
/// Weight of the newest response in the learned length.
const OUTPUT_WEIGHT: f64 = 0.02;
/// Relative change of the ratio after which the endpoints' capacities are converted to cells again.
const RATIO_DRIFT_MAX: f64 = 0.05;

/// One pool of a view.
#[derive(Clone, Debug)]
pub struct Pool {
    name: String,
    models: Vec<String>,
    adapters: Vec<String>,
    /// Its models as `/v1/models` of its engines lists them, one JSON object each.
    listed: Vec<String>,
    slots: Vec<Slot>,
    /// Whether each slot is in `slots`; slots beyond the end are not.
    members: Vec<bool>,
    bytes_per_token: f64,
    /// The ratio at which the endpoints' capacities were last converted to cells.
    sized_bytes_per_token: f64,
    reuse_share: f64,
    output_tokens: f64,
}

/// A model name found in a pool.
#[derive(Clone, Copy, Debug)]
pub struct ModelMatch<'a> {
    /// The pool that serves it.
    pub pool: &'a Pool,
    /// What sets the model's prompts apart from others of the pool: the adapter's name; empty for the base model. Under
    /// `*` the model's name: two names may or may not refer to the same weights.
    pub variant: &'a str,
}

// === impl Pool ===

impl Pool {
    /// A pool over `slots`, which may contain duplicates; it keeps the learned values of `old`.
    pub(super) fn new(pool: &wire::Pool, mut slots: Vec<Slot>, old: Option<&Self>) -> Self {
        let mut members = vec![false; slots.iter().max().map_or(0, |slot| slot.index() + 1)];
        slots.retain(|slot| {
            members.get_mut(slot.index()).is_some_and(|is_member| !std::mem::replace(is_member, true))
        });
        Self {
            name: pool.name.clone(),
            models: pool.models.clone(),
            adapters: pool.adapters.clone(),
            listed: pool.listed.clone(),
            slots,
            members,
            bytes_per_token: old.map_or(BYTES_PER_TOKEN_DEFAULT, |old| old.bytes_per_token),
            sized_bytes_per_token: old.map_or(BYTES_PER_TOKEN_DEFAULT, |old| old.sized_bytes_per_token),
            reuse_share: old.map_or(REUSE_SHARE_DEFAULT, |old| old.reuse_share),
            output_tokens: old.map_or(OUTPUT_TOKENS_DEFAULT, |old| old.output_tokens),
        }
    }

    /// Its unique name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its endpoints.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Whether the pool contains an endpoint.
    pub fn has(&self, slot: Slot) -> bool {
        self.members.get(slot.index()).copied().unwrap_or(false)
    }

    /// The base models' names; `*` takes any.
    pub fn models(&self) -> &[String] {
        &self.models
    }

    /// The adapters' names.
    pub fn adapters(&self) -> &[String] {
        &self.adapters
    }

    /// Its models as `/v1/models` of its engines lists them, one JSON object each; empty when the controller does not know.
    pub fn listed(&self) -> &[String] {
        &self.listed
    }

    /// Learned ratio of prompt text to tokens.
    pub fn bytes_per_token(&self) -> f64 {
        self.bytes_per_token
    }

    /// Learned share of prompt tokens that were in a cache, 0 to 1.
    pub fn reuse_share(&self) -> f64 {
        self.reuse_share
    }

    /// Learned mean length of responses, in tokens.
    pub fn output_tokens(&self) -> f64 {
        self.output_tokens
    }

    /// The number of tokens in `bytes` of prompt text.
    pub fn tokens(&self, bytes: u64) -> u64 {
        count(float(bytes) / self.bytes_per_token)
    }

    /// Records that capacities are converted at the current ratio, and returns it.
    pub(super) fn note_sized(&mut self) -> f64 {
        self.sized_bytes_per_token = self.bytes_per_token;
        self.bytes_per_token
    }

    /// Whether the converted capacities are outdated.
    pub(super) fn has_drifted(&self) -> bool {
        let drift = (self.bytes_per_token - self.sized_bytes_per_token).abs();
        drift > RATIO_DRIFT_MAX * self.sized_bytes_per_token
    }

    pub(super) fn observe(&mut self, usage: &wire::UsageSeen) {
        let wire::UsageSeen { prompt_bytes: bytes, prompt_tokens: tokens, .. } = *usage;
        if let Some(output) = usage.output_tokens.filter(|output| *output > 0) {
            self.output_tokens += OUTPUT_WEIGHT * (float(output.min(OUTPUT_TOKENS_MAX)) - self.output_tokens);
        }
        if tokens >= REUSE_TOKENS_MIN
            && let Some(cached) = usage.cached_tokens
        {
            let share = (float(cached) / float(tokens)).min(1.0);
            self.reuse_share += REUSE_WEIGHT * (share - self.reuse_share);
        }
        if bytes < RATIO_BYTES_MIN || tokens == 0 {
            return;
        }
        let seen = (float(bytes) / float(tokens)).clamp(BYTES_PER_TOKEN_MIN, BYTES_PER_TOKEN_MAX);
        self.bytes_per_token += RATIO_WEIGHT * (seen - self.bytes_per_token);
    }

    pub(super) fn matches<'a>(&'a self, model: &str) -> Option<ModelMatch<'a>> {
        if self.models.iter().any(|name| name == model) {
            return Some(ModelMatch { pool: self, variant: "" });
        }
        let adapter = self.adapters.iter().find(|name| *name == model)?;
        Some(ModelMatch { pool: self, variant: adapter })
    }

    pub(super) fn takes_any<'a>(&'a self, model: &'a str) -> Option<ModelMatch<'a>> {
        let takes = self.models.iter().any(|name| name == ANY_MODEL);
        takes.then_some(ModelMatch { pool: self, variant: model })
    }
}
