//! What became of one request.

use crate::workload::Job;

/// One request; times in seconds of the run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record {
    /// When it came: from then on the client waits.
    pub sent_s: f64,
    /// When its first token came.
    pub first_s: Option<f64>,
    /// When its last one came.
    pub end_s: Option<f64>,
    /// To which engine it was sent; the one that prefills, if another decodes. 0 before it is.
    pub engine: usize,
    /// The group of its session.
    pub group: usize,
    /// Who asks, in a closed loop.
    pub agent: Option<usize>,
    /// How often it was refused and came again.
    pub refusals: u32,
    /// Whether no engine took it.
    pub is_lost: bool,
    /// Whether another decodes.
    pub is_split: bool,
    /// Length of the prompt.
    pub prompt_tokens: usize,
    /// Tokens of it that the engine had cached, on the GPU or in a tier from which it loaded them.
    pub cached_tokens: usize,
    /// Tokens of it that one endless cache would have had.
    pub bound_tokens: usize,
    /// Length of the answer.
    pub output_tokens: usize,
    admissions: u32,
}

// === impl Record ===

impl Record {
    /// A request that has just come.
    pub fn new(now_s: f64, job: &Job, bound_tokens: usize) -> Self {
        Self {
            sent_s: now_s,
            first_s: None,
            end_s: None,
            engine: 0,
            group: 0,
            agent: None,
            refusals: 0,
            is_lost: false,
            is_split: false,
            prompt_tokens: job.prompt_tokens,
            cached_tokens: 0,
            bound_tokens,
            output_tokens: job.output_tokens,
            admissions: 0,
        }
    }

    /// Notes what the cache held. Only the first time counts: after a preemption it finds what it left itself.
    pub fn admitted(&mut self, cached_tokens: usize) {
        self.admissions += 1;
        if self.admissions == 1 {
            self.cached_tokens = cached_tokens;
        }
    }

    /// Notes what comes from a tier for the admission just noted: cached as well, as engines report it in `usage`.
    pub fn loads(&mut self, tokens: usize) {
        if self.admissions == 1 {
            self.cached_tokens += tokens;
        }
    }

    /// Whether an engine has begun with it.
    pub fn is_admitted(&self) -> bool {
        self.admissions > 0
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{BASE_ADAPTER, Form};

    #[test]
    fn what_comes_from_a_tier_counts_for_the_first_admission_only() {
        let job = Job {
            cells: [].into(),
            blocks: [].into(),
            adapter: BASE_ADAPTER,
            prompt_tokens: 1_000,
            output_tokens: 10,
            output_tokens_max: None,
            form: Form::default(),
        };
        let mut record = Record::new(0.0, &job, 0);
        record.admitted(128);
        record.loads(256);
        record.loads(64);
        assert_eq!(record.cached_tokens, 448);
        record.admitted(640);
        record.loads(64);
        assert_eq!(record.cached_tokens, 448, "after a preemption it finds what it left itself");
    }
}
