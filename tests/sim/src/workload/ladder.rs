//! The shared-prefix ladder: groups of prompts with a common system prompt, Poisson arrivals at rising rates.
//!
//! Profile `shared_prefix` of inference-perf as llm-d publishes its results with (llm-d-benchmark,
//! `guide_optimized-baseline`): 150 groups of 5 prompts, 6,000 tokens of system prompt, 1,200 of question, 1,000
//! of answer. The prompts are drawn up once and asked again and again in the same shuffled order, so a later
//! stage meets whole prompts, not only system prompts. A stage begins after the one before has ended and a pause.

use super::text::mix;
use super::{BASE_ADAPTER, Job, LoraSpec, Session, Texts, Turn, Workload};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng, rngs::StdRng};

/// Rates of the published stages with their lengths: (requests a second, seconds). The first warms up.
pub const LADDER_RATES: [(f64, f64); 17] = [
    (15.0, 50.0),
    (3.0, 20.0),
    (10.0, 20.0),
    (15.0, 20.0),
    (20.0, 38.0),
    (22.0, 34.0),
    (25.0, 30.0),
    (30.0, 25.0),
    (35.0, 21.0),
    (40.0, 38.0),
    (43.0, 36.0),
    (46.0, 33.0),
    (49.0, 30.0),
    (52.0, 29.0),
    (55.0, 27.0),
    (57.0, 26.0),
    (60.0, 25.0),
];

/// Length of a stage above the published rates, in seconds.
const LENGTH_S_BEYOND: f64 = 25.0;
/// Pause after the warm-up, in seconds, by whose end the slowest rule has answered everything.
const DRAIN_S: f64 = 150.0;

/// Groups and lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LadderShape {
    /// System prompts.
    pub groups: usize,
    /// Prompts with each.
    pub prompts_per_group: usize,
    /// Tokens of a system prompt.
    pub system_tokens: usize,
    /// Tokens of a question.
    pub question_tokens: usize,
    /// Tokens of an answer.
    pub output_tokens: usize,
}

/// One stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LadderStage {
    /// Requests a second.
    pub rate: f64,
    /// For how many seconds they come.
    pub length_s: f64,
    /// Requests of the stages before: where in the shuffled prompts this stage begins.
    pub requests_before: usize,
}

// === impl LadderShape ===

impl LadderShape {
    /// Qwen3-32B, 73 % of the fleet's KV capacity.
    pub const QWEN: Self = Self {
        groups: 150,
        prompts_per_group: 5,
        system_tokens: 6_000,
        question_tokens: 1_200,
        output_tokens: 1_000,
    };
    /// Llama-3.1-70B, 37 % of it.
    pub const LLAMA: Self = Self {
        groups: 83,
        prompts_per_group: 3,
        system_tokens: 8_000,
        question_tokens: 1_000,
        output_tokens: 1_000,
    };

    /// The prompts in the order in which they are asked, again and again.
    pub fn prompts(self, seed: u64, texts: &mut Texts) -> Vec<Job> {
        self.prompts_for(seed, texts, std::iter::repeat(BASE_ADAPTER))
    }

    /// The same, each group for an adapter.
    pub fn lora_prompts(self, lora: LoraSpec, seed: u64, texts: &mut Texts) -> Vec<Job> {
        self.prompts_for(seed, texts, lora.draws(seed))
    }

    fn prompts_for(self, seed: u64, texts: &mut Texts, adapters: impl Iterator<Item = u32>) -> Vec<Job> {
        let mut all = Vec::with_capacity(self.groups * self.prompts_per_group);
        for (group, adapter) in (0..self.groups as u64).zip(adapters) {
            let system = mix(seed ^ mix(group));
            for prompt in 0..self.prompts_per_group as u64 {
                let question = mix(system ^ (prompt + 1));
                let parts = [(system, self.system_tokens), (question, self.question_tokens)];
                let job = texts.job_for(adapter, parts, self.output_tokens);
                all.push(Job { output_tokens_max: Some(self.output_tokens as u64), ..job });
            }
        }
        all.shuffle(&mut StdRng::seed_from_u64(seed));
        all
    }
}

/// The requests of one stage, from second 0.
pub fn ladder_stage(prompts: &[Job], stage: LadderStage, seed: u64) -> Workload {
    let mut random = StdRng::seed_from_u64(seed ^ stage.rate.to_bits());
    let requests = (stage.rate * stage.length_s).round() as usize;
    let mut now_s = 0.0;
    let sessions = (0..requests).map(|number| {
        now_s -= (1.0 - random.random::<f64>()).ln() / stage.rate;
        let job = prompts[(stage.requests_before + number) % prompts.len()].clone();
        Session { group: 0, start_s: now_s, turns: vec![Turn { think_s: 0.0, job }] }
    });
    Workload::by_clock(sessions.collect())
}

/// A stage behind the warm-up one, as published runs play it: on caches that have seen every prompt. Only the
/// stage itself counts.
pub fn warm_stage(prompts: &[Job], rate: f64, seed: u64) -> Workload {
    let [(warm_up_rate, warm_up_s), stages @ ..] = LADDER_RATES;
    let length_s = stages.iter().find(|stage| stage.0 >= rate).map_or(LENGTH_S_BEYOND, |stage| stage.1);
    let warm_up = LadderStage { rate: warm_up_rate, length_s: warm_up_s, requests_before: 0 };
    let mut sessions = ladder_stage(prompts, warm_up, seed).sessions;
    let counts_from_s = warm_up_s + DRAIN_S;
    let stage = LadderStage { rate, length_s, requests_before: sessions.len() };
    let counted = ladder_stage(prompts, stage, seed).sessions.into_iter();
    sessions.extend(counted.map(|session| Session { start_s: session.start_s + counts_from_s, ..session }));
    Workload { counts_from_s, ..Workload::by_clock(sessions) }
}
