//! What became of one request.

use crate::workload::Job;

/// One request; times in seconds of the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Record {
    /// When it was sent.
    pub sent_s: f64,
    /// When its first token came.
    pub first_s: Option<f64>,
    /// When its last one came.
    pub end_s: Option<f64>,
    /// To which engine it was sent.
    pub engine: usize,
    /// Length of the prompt.
    pub prompt_tokens: usize,
    /// Tokens of it that the engine had cached.
    pub cached_tokens: usize,
    /// Tokens of it that one endless cache would have had.
    pub bound_tokens: usize,
    /// Length of the answer.
    pub output_tokens: usize,
    is_admitted: bool,
}

// === impl Record ===

impl Record {
    /// A request that has just been sent.
    pub fn sent(now_s: f64, engine: usize, job: &Job, bound_tokens: usize) -> Self {
        Self {
            sent_s: now_s,
            first_s: None,
            end_s: None,
            engine,
            prompt_tokens: job.prompt_tokens,
            cached_tokens: 0,
            bound_tokens,
            output_tokens: job.output_tokens,
            is_admitted: false,
        }
    }

    /// Notes what the cache held. Only the first time counts: after a preemption it finds what it left itself.
    pub fn admitted(&mut self, cached_tokens: usize) {
        if !self.is_admitted {
            self.is_admitted = true;
            self.cached_tokens = cached_tokens;
        }
    }

    /// Whether its answer is whole.
    pub fn has_ended(&self) -> bool {
        self.end_s.is_some()
    }

    /// Seconds to the first token; only for one that has ended.
    pub fn ttft_s(&self) -> f64 {
        self.first_s.map_or(0.0, |first_s| first_s - self.sent_s)
    }

    /// Seconds to the last token; only for one that has ended.
    pub fn e2e_s(&self) -> f64 {
        self.end_s.map_or(0.0, |end_s| end_s - self.sent_s)
    }
}
