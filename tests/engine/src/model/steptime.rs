//! How long one step takes.
//!
//! ```text
//! T_step = lin(T) + c_pair * sum(n*p + n^2/2) + [B > 0] * (g0 + g1*B + g2 * sum ctx)
//! ```
//!
//! `T` is all tokens of the step (prefill tokens and one a decode), `n` the new tokens of a prefill chunk,
//! `p` the tokens before it, `B` the decodes, `ctx` the tokens each of them attends to. `lin` holds the
//! matrix products and all-reduces, the pair term the attention of the prefill, the rest that of the decode.
//! "Cost = uncached tokens" would be wrong by two to three times at long context.
//! Parameters and their source: `data/README.md`. Error against published runs: about 10 % in throughput.

use serde::Deserialize;
use std::collections::BTreeMap;

const PARAMS_JSON: &str = include_str!("../../data/steptime_params.json");
const MS_PER_S: f64 = 1_000.0;

/// The work of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepLoad {
    /// New tokens of all prefill chunks.
    pub prefill_tokens: usize,
    /// Token pairs of the prefill chunks, `n*p + n^2/2` each.
    pub pairs: f64,
    /// Requests that get one token from the one before.
    pub decodes: usize,
    /// Tokens that those requests attend to, in total.
    pub context_tokens: usize,
}

// === impl StepLoad ===

impl StepLoad {
    /// Adds a chunk of `new` prefill tokens after `prefix` computed ones.
    pub fn add_prefill(&mut self, new: usize, prefix: usize) {
        let (n, p) = (new as f64, prefix as f64);
        self.prefill_tokens += new;
        self.pairs += n * p + n * n / 2.0;
    }

    /// Adds a decode that attends to `context` tokens.
    pub fn add_decode(&mut self, context: usize) {
        self.decodes += 1;
        self.context_tokens += context;
    }

    /// Tokens computed in the step.
    pub fn tokens(&self) -> usize {
        self.prefill_tokens + self.decodes
    }
}

/// The step-time model of one hardware and model set-up.
#[derive(Clone, Debug, PartialEq)]
pub struct StepTime {
    /// Tokens of a step and their milliseconds, ascending; linear between, and beyond the last two.
    lin: Vec<(f64, f64)>,
    pair_ms: f64,
    decode_ms: f64,
    decode_request_ms: f64,
    context_token_ms: f64,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(rename = "T")]
    tokens: Vec<f64>,
    #[serde(rename = "lin_ms_decscale0.8")]
    lin_ms: Vec<f64>,
    c_pair_ms: f64,
    g0_ms: f64,
    g1_ms_per_seq: f64,
    g2_ms_per_ctx_token: f64,
}

// === impl StepTime ===

impl StepTime {
    /// The set-up called `key` in `data/steptime_params.json`.
    ///
    /// # Panics
    /// When the embedded file has no such set-up.
    pub(super) fn calibrated(key: &str) -> Self {
        let mut all: BTreeMap<String, Raw> =
            serde_json::from_str(PARAMS_JSON).expect("the embedded parameters are valid");
        let raw = all.remove(key).expect("presets name set-ups that the embedded parameters have");
        Self {
            lin: raw.tokens.into_iter().zip(raw.lin_ms).collect(),
            pair_ms: raw.c_pair_ms,
            decode_ms: raw.g0_ms,
            decode_request_ms: raw.g1_ms_per_seq,
            context_token_ms: raw.g2_ms_per_ctx_token,
        }
    }

    /// Steps that take no time.
    pub fn instant() -> Self {
        Self { lin: Vec::new(), pair_ms: 0.0, decode_ms: 0.0, decode_request_ms: 0.0, context_token_ms: 0.0 }
    }

    /// The same with every step `factor` times as long: slower hardware, or an older engine.
    #[must_use]
    pub fn slower(self, factor: f64) -> Self {
        Self {
            lin: self.lin.into_iter().map(|(tokens, ms)| (tokens, ms * factor)).collect(),
            pair_ms: self.pair_ms * factor,
            decode_ms: self.decode_ms * factor,
            decode_request_ms: self.decode_request_ms * factor,
            context_token_ms: self.context_token_ms * factor,
        }
    }

    /// The duration of a step, in seconds.
    pub fn seconds(&self, load: &StepLoad) -> f64 {
        let mut ms = self.lin_ms(load.tokens() as f64) + self.pair_ms * load.pairs;
        if load.decodes > 0 {
            ms += self.decode_ms
                + self.decode_request_ms * load.decodes as f64
                + self.context_token_ms * load.context_tokens as f64;
        }
        ms.max(0.0) / MS_PER_S
    }

    /// Seconds to compute `new` prompt tokens after `prefix` others, at the price a token of full steps of
    /// `batched_tokens_max`: what a load has to beat.
    pub fn prefill_seconds(&self, new: usize, prefix: usize, batched_tokens_max: usize) -> f64 {
        let mut load = StepLoad::default();
        load.add_prefill(new, prefix);
        let full = batched_tokens_max.max(1) as f64;
        (self.lin_ms(full) / full * new as f64 + self.pair_ms * load.pairs) / MS_PER_S
    }

    fn lin_ms(&self, tokens: f64) -> f64 {
        let above = self.lin.partition_point(|(at, _)| *at < tokens);
        let above = above.clamp(1, self.lin.len().saturating_sub(1).max(1));
        match (self.lin.get(above - 1), self.lin.get(above)) {
            (Some((t0, ms0)), Some((t1, ms1))) => ms0 + (ms1 - ms0) * (tokens - t0) / (t1 - t0),
            _ => 0.0,
        }
    }
}
