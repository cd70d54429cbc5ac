//! One request of an arm, in model time.

use crate::client::Lost;

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// When it was sent, in milliseconds since the arm began.
    pub at_ms: f64,
    /// How much later than planned it was sent, in milliseconds; 0 where nothing was planned.
    pub late_ms: f64,
    /// Tokens that one endless cache would have held.
    pub ideal_cached_tokens: u64,
    /// Whether there was an image in it.
    pub has_image: bool,
    /// What became of it.
    pub outcome: Result<Answered, Lost>,
}

/// A whole answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answered {
    /// The number of the engine.
    pub engine: Option<usize>,
    /// Until the first text, in milliseconds.
    pub ttft_ms: f64,
    /// Until the end, in milliseconds.
    pub e2e_ms: f64,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Those of them that the engine's cache held.
    pub cached_tokens: u64,
    /// Tokens of the answer.
    pub output_tokens: u64,
}

// === impl Answered ===

impl Answered {
    /// The mean time of a token after the first; `None` where there is none.
    pub fn tpot_ms(&self) -> Option<f64> {
        let tokens = self.output_tokens.checked_sub(1).filter(|tokens| *tokens > 0)?;
        Some((self.e2e_ms - self.ttft_ms) / tokens as f64)
    }
}
