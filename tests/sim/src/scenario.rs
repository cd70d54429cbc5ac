//! The scenarios by name: which traffic, on which engines.

use crate::pool::{BLOCK_TOKENS, Pool};
use crate::run::Spec;
use crate::trace::{self, Recorded, RecordedSession, Trace, TraceError};
use crate::workload::{
    AgenticSpec, LadderShape, LoraSpec, Texts, Workload, agentic, beside, mix, mixed, open, open_lora,
    warm_stage,
};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Adapters of the workloads that have any: more than a batch may mix, and few of them asked for often.
pub(crate) const LORA: LoraSpec = LoraSpec { adapters: 32, exponent: 1.0 };

/// How long agentic sessions are played where requests may be held, in seconds.
const HELD_S: f64 = 1_200.0;
/// Within how many seconds the first of them begin.
const RAMP_S: f64 = 120.0;
/// Sessions beyond those that begin: more than end in that time.
const SESSIONS_MORE: usize = 140;

/// What the groups of sessions are called.
const AGENTS: &str = "agents";
const CHATS: &str = Scenario::CHATS;
const TENANTS: [&str; 2] = [Scenario::FEW, "many"];

const MS_PER_S: f64 = 1_000.0;

/// Tokens from which a prompt is a long one.
const LONG_TOKENS_MIN: usize = 16_384;

/// A scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Its name in reports.
    pub name: String,
    /// What it is, in a sentence.
    pub about: String,
    traffic: Traffic,
    pool: Pool,
    /// How many engines only decode, where it is not as many as usual on its pool.
    decoders: Option<usize>,
}

/// Which arms are compared on a scenario, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Every request goes to one engine at once, and to its end.
    Whole,
    /// Engines pass on what they prefill.
    Split,
    /// Requests may be held; it is cut off.
    Held,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
enum Traffic {
    /// The Mooncake conversation trace, so many times as fast.
    Mooncake(f64),
    /// The long prompts of it, so many times as fast.
    MooncakeLong(f64),
    /// An Azure trace.
    Azure(&'static str, f64),
    /// The same, each request for a LoRA adapter.
    AzureLora(&'static str, f64, LoraSpec),
    /// A stage of the ladder, each group for an adapter.
    LadderLora(f64, LoraSpec),
    /// Agentic sessions, so many at once, so many in all.
    Agentic(usize, usize),
    /// Agentic sessions, so many at once, for [`HELD_S`].
    Agents(usize),
    /// The same, and Azure's conversations so many times as fast.
    AgentsAndChats(usize, f64),
    /// Those conversations alone.
    Chats(f64),
    /// Agentic sessions of two tenants, so many at once of each.
    Tenants([usize; 2]),
    /// A stage of the ladder, by its rate.
    Ladder(f64),
    /// Mooncake's and Azure's conversations and code at once, each so many times as fast.
    Mixed([f64; 3]),
    /// A user's own file.
    File(PathBuf, f64),
}

/// Where traces are, and how much of them is played.
#[derive(Clone, Debug)]
pub struct Source {
    /// The folder of the recorded traces.
    pub folder: PathBuf,
    /// Requests of a trace at most.
    pub requests_max: usize,
    /// Decides texts, order and arrivals.
    pub seed: u64,
}

/// A name that no scenario has.
#[derive(Debug, thiserror::Error)]
#[error("unknown workload {name:?}, known are {known}")]
pub struct UnknownScenario {
    name: String,
    known: String,
}

// === impl Scenario ===

impl Scenario {
    /// The one whose load is mixed, of those with prefill and decode apart.
    pub const SPLIT_MIXED: &str = "split-mixed";

    /// Agents alone, twice as many as the caches hold, and too few to need a gate.
    pub const CROWDED: &str = "agentic-64";
    /// See [`Self::CROWDED`].
    pub const UNCROWDED: [&str; 3] = ["agentic-8", "agentic-16", "agentic-32"];
    /// The group of sessions that are conversations, and the scenario in which they are alone on half of the engines.
    pub const CHATS: &str = "chats";
    /// See [`Self::CHATS`].
    pub const CHATS_ALONE: &str = "chats-half";
    /// The group of sessions of the tenant with few agents, and the scenario in which it is alone on half of the engines.
    pub const FEW: &str = "few";
    /// See [`Self::FEW`].
    pub const FEW_ALONE: &str = "agentic-16-half";

    /// All scenarios, in the order of reports.
    pub fn all() -> Vec<Self> {
        [Self::recorded(), Self::others(), Self::split(), Self::held(), Self::ladder()].concat()
    }

    /// Recorded conversations and completions by the clock, on engines like each other.
    fn recorded() -> Vec<Self> {
        vec![
            Self::new(
                "mooncake",
                "Mooncake conversations as recorded; the caches hold little of it",
                Traffic::Mooncake(1.0),
                Pool::Qwen,
            ),
            Self::new("mooncake-x1.3", "the same, 1.3 times as fast", Traffic::Mooncake(1.3), Pool::Qwen),
            Self::new(
                "mooncake-ample",
                "Mooncake conversations four times as fast, caches with room for all",
                Traffic::Mooncake(4.0),
                Pool::LlamaAmple,
            ),
            Self::new(
                "mooncake-tiers",
                "Mooncake conversations 1.3 times as fast, a CPU tier of 1,000,000 tokens below each cache",
                Traffic::Mooncake(1.3),
                Pool::QwenTiers,
            ),
            Self::new(
                "azure-conv",
                "Azure conversations, twice as fast, no shared prefixes",
                Traffic::Azure("azure2023_conv.csv.gz", 2.0),
                Pool::Qwen,
            ),
            Self::new(
                "azure-code",
                "Azure code completion, bursts, no shared prefixes",
                Traffic::Azure("azure2023_code.csv.gz", 2.0),
                Pool::Qwen,
            ),
        ]
    }

    fn others() -> Vec<Self> {
        vec![
            Self::new(
                "agentic-24",
                "24 coding agents in a closed loop",
                Traffic::Agentic(24, 48),
                Pool::Qwen,
            ),
            Self::new(
                "agentic-40",
                "40 coding agents: more than the caches hold",
                Traffic::Agentic(40, 80),
                Pool::Qwen,
            ),
            Self::new(
                "mixed",
                "conversations, code and chat on the same engines",
                Traffic::Mixed([0.6; 3]),
                Pool::Qwen,
            ),
            Self::new(
                "unequal",
                "Mooncake conversations on engines of two speeds",
                Traffic::Mooncake(0.8),
                Pool::Unequal,
            ),
            Self::new(
                "growing",
                "Mooncake conversations twice as fast on four engines; four more join cold in the middle",
                Traffic::Mooncake(2.0),
                Pool::Growing,
            ),
            Self::new(
                "lora",
                "Azure conversations, twice as fast, for 32 LoRA adapters of which a batch may mix 8",
                Traffic::AzureLora("azure2023_conv.csv.gz", 2.0, LORA),
                Pool::QwenLora,
            ),
            Self::new(
                "lora-ladder",
                "the ladder at rate 10, each group for one of 32 LoRA adapters of which a batch may mix 8",
                Traffic::LadderLora(10.0, LORA),
                Pool::QwenLora,
            ),
        ]
    }

    /// On engines that fetch from each other what they prefill.
    fn split() -> Vec<Self> {
        vec![
            Self::split_on("split-conversation", "Mooncake conversations", Traffic::Mooncake(1.3), 3),
            Self::split_on(
                "split-code",
                "Azure code completion",
                Traffic::Azure("azure2023_code.csv.gz", 2.0),
                3,
            ),
            Self::split_on("split-agentic", "24 coding agents in a closed loop", Traffic::Agentic(24, 48), 3),
            Self::split_on("split-long", "Mooncake conversations", Traffic::MooncakeLong(2.0), 3),
            Self::split_on(
                Self::SPLIT_MIXED,
                "conversations, code and chat",
                Traffic::Mixed([0.8, 2.0, 2.0]),
                3,
            ),
        ]
    }

    fn split_on(name: &str, about: &str, traffic: Traffic, decoders: usize) -> Self {
        Self { decoders: Some(decoders), ..Self::new(name, about, traffic, Pool::Split) }
    }

    /// Agents for twenty minutes: fewer than the caches hold, and more.
    fn held() -> Vec<Self> {
        let agents = |agents: usize| {
            let about = "coding agents in a closed loop, for twenty minutes";
            Self::new(
                &format!("agentic-{agents}"),
                &format!("{agents} {about}"),
                Traffic::Agents(agents),
                Pool::Qwen,
            )
        };
        let mut all: Vec<Self> = [8, 16, 32, 48, 64, 96].map(agents).into();
        all.extend([
            Self::new(
                "agentic-96-tiers",
                "96 coding agents, a CPU tier of 1,000,000 tokens below each cache",
                Traffic::Agents(96),
                Pool::QwenTiers,
            ),
            Self::new(
                "agentic-chats",
                "64 coding agents, and Azure conversations as recorded",
                Traffic::AgentsAndChats(64, 1.0),
                Pool::Qwen,
            ),
            Self::new(
                "chats-half",
                "the conversations of agentic-chats alone, on half of the engines",
                Traffic::Chats(1.0),
                Pool::QwenHalf,
            ),
            Self::new(
                "agentic-tenants",
                "16 coding agents of one tenant, 64 of another",
                Traffic::Tenants([16, 64]),
                Pool::Qwen,
            ),
            Self::new(
                "agentic-16-half",
                "the first tenant of agentic-tenants alone, on half of the engines",
                Traffic::Agents(16),
                Pool::QwenHalf,
            ),
        ]);
        all
    }

    fn ladder() -> Vec<Self> {
        let about = "shared prefixes, 150 groups of 5, warm caches, at a rate";
        let stage = |rate| Self::new(&format!("ladder-{rate}"), about, Traffic::Ladder(rate), Pool::Qwen);
        [3.0, 20.0, 35.0, 60.0].map(stage).into()
    }

    /// A user's own trace, on engines of their choice.
    pub fn of_file(path: &Path, speed: f64, pool: Pool) -> Self {
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let at = if speed.total_cmp(&1.0).is_eq() {
            "as recorded".to_owned()
        } else {
            format!("{speed} times as fast")
        };
        let adapters = match pool {
            Pool::QwenLora => " (a trace names no LoRA adapters: this is the pool qwen)",
            _ => "",
        };
        let about = format!("a trace of your own, {}, {at}, on the pool {pool}{adapters}", path.display());
        Self::new(&name, &about, Traffic::File(path.to_owned(), speed), pool)
    }

    fn new(name: &str, about: &str, traffic: Traffic, pool: Pool) -> Self {
        Self { name: name.to_owned(), about: about.to_owned(), traffic, pool, decoders: None }
    }

    /// The engines and how they are looked at.
    pub fn spec(&self) -> Spec {
        let spec = self.pool.spec();
        Spec { decoders: self.decoders.unwrap_or(spec.decoders), ..spec }
    }

    /// Which arms are compared on it.
    pub fn family(&self) -> Family {
        match self.traffic {
            _ if self.spec().has_transfer => Family::Split,
            Traffic::Agents(_) | Traffic::AgentsAndChats(..) | Traffic::Chats(_) | Traffic::Tenants(_) => {
                Family::Held
            }
            _ => Family::Whole,
        }
    }

    /// Whether the caches have room for most of what repeats, so that the endless cache's hits can be reached.
    pub fn has_ample_cache(&self) -> bool {
        self.pool == Pool::LlamaAmple
    }

    /// The rate of the ladder's stage that this is.
    pub fn ladder_rate(&self) -> Option<f64> {
        match self.traffic {
            Traffic::Ladder(rate) => Some(rate),
            _ => None,
        }
    }

    /// The requests.
    pub fn workload(&self, source: &Source) -> Result<Workload, TraceError> {
        let texts = &mut Texts::new(BLOCK_TOKENS);
        let seed = source.seed;
        match &self.traffic {
            Traffic::Mooncake(speed) => Ok(open(&source.mooncake()?, *speed, seed, texts)),
            Traffic::MooncakeLong(speed) => {
                let mut long = source.mooncake()?;
                long.retain(|request| request.input_tokens >= LONG_TOKENS_MIN);
                Ok(open(&long, *speed, seed, texts))
            }
            Traffic::Azure(file, speed) => Ok(open(&source.requests(file)?, *speed, seed, texts)),
            Traffic::AzureLora(file, speed, lora) => {
                Ok(open_lora(&source.requests(file)?, *speed, *lora, seed, texts))
            }
            Traffic::LadderLora(rate, lora) => {
                Ok(warm_stage(&LadderShape::QWEN.lora_prompts(*lora, seed, texts), *rate, seed))
            }
            Traffic::Agentic(slots, sessions) => {
                Ok(agentic(&source.sessions()?, agents(*slots, *sessions), seed, texts))
            }
            Traffic::Agents(_) | Traffic::AgentsAndChats(..) | Traffic::Chats(_) | Traffic::Tenants(_) => {
                self.held_workload(source, texts)
            }
            Traffic::Ladder(rate) => Ok(warm_stage(&LadderShape::QWEN.prompts(seed, texts), *rate, seed)),
            Traffic::Mixed([mooncake, conversation, code]) => Ok(mixed([
                open(&source.mooncake()?, *mooncake, seed, texts),
                open(&source.requests("azure2023_conv.csv.gz")?, *conversation, seed, texts),
                open(&source.requests("azure2023_code.csv.gz")?, *code, seed, texts),
            ])),
            Traffic::File(path, speed) => match trace::load(path, source.requests_max)? {
                Trace::Requests(requests) => Ok(open(&requests, *speed, seed, texts)),
                Trace::Sessions(sessions) => Ok(agentic(&sessions, agents(24, sessions.len()), seed, texts)),
            },
        }
    }
}

impl Scenario {
    fn held_workload(&self, source: &Source, texts: &mut Texts) -> Result<Workload, TraceError> {
        let seed = source.seed;
        let mut agents = |slots: usize, seed: u64| -> Result<Workload, TraceError> {
            let spec = AgenticSpec { ramp_s: RAMP_S, ..self::agents(slots, slots + SESSIONS_MORE) };
            Ok(agentic(&source.sessions()?, spec, seed, texts).of(AGENTS, None))
        };
        let parts = match self.traffic {
            Traffic::Agents(slots) => vec![agents(slots, seed)?],
            Traffic::AgentsAndChats(slots, speed) => vec![agents(slots, seed)?, source.chats(speed, texts)?],
            Traffic::Chats(speed) => vec![source.chats(speed, texts)?],
            Traffic::Tenants([first, second]) => vec![
                agents(first, seed)?.of(TENANTS[0], Some(TENANTS[0])),
                // Other sessions, of the same kind.
                agents(second, mix(seed))?.of(TENANTS[1], Some(TENANTS[1])),
            ],
            _ => Vec::new(),
        };
        Ok(beside(parts, HELD_S))
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

impl FromStr for Scenario {
    type Err = UnknownScenario;

    fn from_str(name: &str) -> Result<Self, UnknownScenario> {
        let all = Self::all();
        let known = || all.iter().map(|one| one.name.clone()).collect::<Vec<_>>().join(", ");
        all.iter()
            .find(|one| one.name == name)
            .cloned()
            .ok_or_else(|| UnknownScenario { name: name.to_owned(), known: known() })
    }
}

/// Sessions as they were played for the published comparison of rules.
fn agents(slots: usize, sessions: usize) -> AgenticSpec {
    AgenticSpec { slots, ramp_s: 0.0, sessions, turns_max: 40, input_tokens_max: 128_000, think_s_max: 30.0 }
}

// === impl Source ===

impl Source {
    fn mooncake(&self) -> Result<Vec<Recorded>, TraceError> {
        self.requests("mooncake_conversation_trace.jsonl.gz")
    }

    fn requests(&self, file: &str) -> Result<Vec<Recorded>, TraceError> {
        trace::load_requests(&self.folder.join(file), self.requests_max)
    }

    /// Azure's conversations until the end of a run that is cut off.
    fn chats(&self, speed: f64, texts: &mut Texts) -> Result<Workload, TraceError> {
        let mut requests = self.requests("azure2023_conv.csv.gz")?;
        requests.retain(|request| request.at_ms <= HELD_S * MS_PER_S * speed);
        Ok(open(&requests, speed, self.seed, texts).of(CHATS, None))
    }

    fn sessions(&self) -> Result<Vec<RecordedSession>, TraceError> {
        let path = self.folder.join("agentic_sessions.jsonl.gz");
        match trace::load(&path, usize::MAX)? {
            Trace::Sessions(sessions) => Ok(sessions),
            Trace::Requests(_) => Err(TraceError::UnknownFormat { path }),
        }
    }
}
