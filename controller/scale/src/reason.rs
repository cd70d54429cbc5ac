//! Why a role has the replicas that it has.
//!
//! An enum and not a text, because a metric counts plans by it, and a status condition names it.

/// What decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Fewer would do for nothing, or the demand is what it was.
    #[default]
    Least,
    /// Prompts: the objective of first tokens.
    Prefill,
    /// Responses: the objective of the time between tokens.
    Decode,
    /// The contexts of the requests that are under way, in the KV caches.
    KvRoom,
    /// What waits already.
    Backlog,
    /// Fewer would do, but not for as long as it takes to start one again.
    Cooling,
    /// More are needed than there may be.
    Most,
    /// More, or fewer, will follow: the number changes by steps.
    Step,
    /// Engines do not come up: more of them would not either.
    Stuck,
    /// Requests wait for an engine, and there was none.
    Wake,
    /// Nothing was requested for the idle time.
    Idle,
}

// === impl Reason ===

impl Reason {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Least,
        Self::Prefill,
        Self::Decode,
        Self::KvRoom,
        Self::Backlog,
        Self::Cooling,
        Self::Most,
        Self::Step,
        Self::Stuck,
        Self::Wake,
        Self::Idle,
    ];

    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Least => "least",
            Self::Prefill => "prefill",
            Self::Decode => "decode",
            Self::KvRoom => "kv_room",
            Self::Backlog => "backlog",
            Self::Cooling => "cooling",
            Self::Most => "most",
            Self::Step => "step",
            Self::Stuck => "stuck",
            Self::Wake => "wake",
            Self::Idle => "idle",
        }
    }

    /// In words, for a status.
    pub fn words(self) -> &'static str {
        match self {
            Self::Least => "the least that is allowed is enough",
            Self::Prefill => "prompts need so many for the objective of first tokens",
            Self::Decode => "responses need so many for the objective of the time between tokens",
            Self::KvRoom => "the requests that are under way need their KV caches",
            Self::Backlog => "requests wait",
            Self::Cooling => "fewer would do, and will go if that lasts",
            Self::Most => "more are needed than replicas.max allows",
            Self::Step => "the number changes step by step",
            Self::Stuck => "replicas do not become ready, and more of them would not help",
            Self::Wake => "requests wait for the first replica",
            Self::Idle => "nothing was requested for the idle time",
        }
    }
}
