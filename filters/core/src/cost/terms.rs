//! The terms of the cost and their sum.

/// How much more a second before the first token weighs than one that is spread over an answer. The one
/// preference in the sum: whoever waits for the first token sees nothing, and a second spread over an answer of
/// 300 tokens slows each by three milliseconds. Of 1 to 5, all over the simulator's workloads: more lowers the mean
/// first-token time by some per cent where prompts are long, and loads engines unevenly where many share prefixes.
pub const WAIT_WEIGHT: f64 = 2.0;

/// The terms, each in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Terms {
    /// See [`crate::cost`].
    pub queue_s: f64,
    /// See [`crate::cost`].
    pub prefill_s: f64,
    /// See [`crate::cost`].
    pub rivals_s: f64,
    /// See [`crate::cost`].
    pub later_s: f64,
    /// See [`crate::cost`].
    pub stall_s: f64,
    /// See [`crate::cost`].
    pub decode_s: f64,
    /// See [`crate::cost`].
    pub evict_s: f64,
}

/// One of them, by name: what an ablation leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Term {
    /// See [`crate::cost`].
    Queue,
    /// See [`crate::cost`].
    Prefill,
    /// See [`crate::cost`].
    Rivals,
    /// See [`crate::cost`].
    Later,
    /// See [`crate::cost`].
    Stall,
    /// See [`crate::cost`].
    Decode,
    /// See [`crate::cost`].
    Evict,
}

// === impl Terms ===

impl Terms {
    /// The cost.
    pub fn total_s(&self) -> f64 {
        WAIT_WEIGHT * (self.ttft_s() + self.rivals_s)
            + self.later_s
            + self.stall_s
            + self.decode_s
            + self.evict_s
    }

    /// Predicted time to the first token: what the request itself waits for.
    pub fn ttft_s(&self) -> f64 {
        self.queue_s + self.prefill_s
    }

    /// The same as if one term were nothing.
    #[must_use]
    pub fn without(mut self, term: Option<Term>) -> Self {
        match term {
            None => {}
            Some(Term::Queue) => self.queue_s = 0.0,
            Some(Term::Prefill) => self.prefill_s = 0.0,
            Some(Term::Rivals) => self.rivals_s = 0.0,
            Some(Term::Later) => self.later_s = 0.0,
            Some(Term::Stall) => self.stall_s = 0.0,
            Some(Term::Decode) => self.decode_s = 0.0,
            Some(Term::Evict) => self.evict_s = 0.0,
        }
        self
    }
}

// === impl Term ===

impl Term {
    /// All of them, in the order of the sum.
    pub const ALL: [Self; 7] =
        [Self::Queue, Self::Prefill, Self::Rivals, Self::Later, Self::Stall, Self::Decode, Self::Evict];

    /// Its name in reports.
    pub fn label(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Prefill => "prefill",
            Self::Rivals => "rivals",
            Self::Later => "later",
            Self::Stall => "stall",
            Self::Decode => "decode",
            Self::Evict => "evict",
        }
    }
}
