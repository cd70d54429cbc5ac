//! What is seen of a service: its demand, what waits, and the engines of each role. The input of the plan.
//!
//! Demand is counted where requests arrive, in the proxies, because an engine that is full, or not there, shows no more of it than
//! what it takes.

/// Names an engine for the caller; the plan compares and returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EngineId(pub u64);

/// Everything that is seen of a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// What arrived since the plan before.
    pub demand: Demand,
    /// What waits now.
    pub backlog: Backlog,
    /// Its roles, always in the same order.
    pub roles: Vec<Role>,
    /// Whether more is asked for than the demand shows: it may ask for more engines, and never for fewer.
    pub is_partial: bool,
}

/// What arrived since the plan before, whether or not an engine took it. Sums, not means.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Demand {
    /// Seconds since then.
    pub window_s: f64,
    /// Requests.
    pub requests: f64,
    /// Their prefill work, but that of whole requests at engines for responses, after what caches hold, in tokens' worth: the time that as many uncached tokens at the start of a prompt
    /// would take.
    pub work_tokens: f64,
    /// The sum of the squares of each request's work: how unequal they are decides how long they queue.
    pub work_tokens_squared: f64,
    /// The same of the requests that engines for responses take whole, beside those that are split.
    pub whole_work_tokens: f64,
    /// The sum of the squares of that.
    pub whole_work_tokens_squared: f64,
    /// Tokens of their responses, those that are expected for responses that have not ended.
    pub output_tokens: f64,
    /// Tokens that an engine keeps for each of them while it generates: prompt, and half of the response.
    pub context_tokens: f64,
    /// Requests whose first token came since then, or has become overdue, but those that engines for responses take whole.
    pub firsts: f64,
    /// Those of them that missed the objective.
    pub firsts_late: f64,
    /// The same of the requests that engines for responses take whole.
    pub whole_firsts: f64,
    /// Those of these that missed the objective.
    pub whole_firsts_late: f64,
    /// Responses that ended since then.
    pub ends: f64,
    /// Those of them whose mean time between tokens missed the objective.
    pub ends_late: f64,
}

/// What waits now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Backlog {
    /// Requests that proxies hold because no engine is there.
    pub held_requests: u64,
    /// Prefill work of all that wait: held, queued at engines, under way.
    pub work_tokens: f64,
    /// Requests at engines.
    pub requests_in_flight: u64,
}

/// The engines of a role.
#[derive(Clone, Debug, PartialEq)]
pub struct Role {
    /// What they do.
    pub legs: Legs,
    /// What was learned of a rank.
    pub speeds: Speeds,
    /// Ranks of an engine, each with requests, a batch and a KV cache of its own; at least one.
    pub ranks: u32,
    /// The engines that there are, in any order. One is what a replica of the role comes to.
    pub engines: Vec<Engine>,
}

/// Which legs of requests the engines of a role take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Legs {
    /// Both.
    #[default]
    Both,
    /// Prompts.
    Prefill,
    /// Responses.
    Decode,
}

/// What was learned of a role's engines: of one rank, where they have several.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speeds {
    /// Seconds for a token's worth of prefill work.
    pub prefill_s_per_token: f64,
    /// Seconds of a decode step that does next to nothing.
    pub step_s: f64,
    /// Seconds that a request in the batch adds to it.
    pub step_s_per_request: f64,
    /// Seconds that a token of the batch's contexts adds to it.
    pub step_s_per_context_token: f64,
    /// Tokens that an engine's KV cache holds.
    pub kv_tokens: f64,
    /// Seconds from the decision to have an engine to its readiness.
    pub wake_s: f64,
}

/// One engine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Engine {
    /// Its name.
    pub id: EngineId,
    /// What it is doing.
    pub state: EngineState,
    /// Tokens of prefixes that it holds and that were used within the break-even time.
    pub warm_tokens: f64,
    /// Requests at it.
    pub requests: u64,
}

/// What an engine is doing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum EngineState {
    /// It takes requests.
    Ready,
    /// It starts, for so many seconds.
    Starting {
        /// Seconds since its pod was made, or ceased to be ready.
        for_s: f64,
    },
    /// It sleeps, or wakes: it takes nothing, and needs no start to do so again.
    Asleep,
    /// It finishes what it has, and takes nothing new.
    Draining,
}

// === impl Speeds ===

impl Default for Speeds {
    /// Before anything was learned: Qwen3-32B on two H100 with vLLM 0.24, composed of measured kernels, and the median start of a pod
    /// with a model of that size.
    fn default() -> Self {
        Self {
            prefill_s_per_token: 1.0 / 17_009.0,
            step_s: 0.0112,
            step_s_per_request: 3.1e-6,
            step_s_per_context_token: 4.4e-8,
            kv_tokens: 307_328.0,
            wake_s: 135.0,
        }
    }
}

// === impl Role ===

impl Role {
    /// Engines that take requests.
    pub fn ready(&self) -> u32 {
        self.count(|state| matches!(state, EngineState::Ready))
    }

    /// Engines that start, for at least so many seconds.
    pub(crate) fn starting(&self, least_s: f64) -> u32 {
        self.count(|state| matches!(state, EngineState::Starting { for_s } if for_s >= least_s))
    }

    fn count(&self, is_one: impl Fn(EngineState) -> bool) -> u32 {
        warmpath_core::num::u32_len(self.engines.iter().filter(|engine| is_one(engine.state)).count())
    }
}
