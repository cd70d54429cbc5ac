//! Each of the other rules on fleets of two engines, made by hand: the case that its formula decides.

use super::{Apart, Endless, Formula, Route, Rule, RuleName};
use crate::fleet::Fleet;
use crate::run::Spec;
use crate::workload::{BASE_ADAPTER, Form, Job, mix};
use warmpath_engine::Preset;
use warmpath_engine::model::{BlockHash, Leg, Params, RequestId};

const BLOCK_TOKENS: usize = 64;
/// Tokens of the prompt that is asked about.
const PROMPT_TOKENS: usize = 6_400;

/// Two engines, and numbers for their requests.
struct Two {
    fleet: Fleet,
    sent: u64,
}

// === impl Two ===

impl Two {
    fn idle() -> Self {
        let engine = Params { block_tokens: BLOCK_TOKENS, ..Params::new(Preset::Qwen3On2) };
        Self { fleet: Fleet::new(&[engine.clone(), engine]), sent: 0 }
    }

    /// Sends a prompt to an engine, where it stays in the queue: the engine will hold it.
    fn send(&mut self, engine: usize, job: &Job) -> u64 {
        self.sent += 1;
        self.fleet.node_mut(engine).send(0.0, RequestId(self.sent), job, Leg::Whole).unwrap();
        self.sent
    }

    /// The same, and lets it decode, as far as loads can tell; the engine's cache has it.
    fn decode(&mut self, engine: usize, job: &Job) {
        let new_tokens = self.fleet.all()[engine].uncached(job);
        let id = self.send(engine, job);
        let node = self.fleet.node_mut(engine);
        node.engine.preload(&job.blocks);
        node.first_token(RequestId(id), new_tokens);
    }

    /// Small prompts that decode.
    fn decode_others(&mut self, engine: usize, count: u64) {
        for number in 0..count {
            self.decode(engine, &job(mix(number), 1));
        }
    }

    fn choose(&self, rule: &str, job: &Job) -> usize {
        let mut rule = rule.parse::<RuleName>().unwrap().formula().unwrap();
        rule.choose(job, self.fleet.among())
    }
}

/// A prompt of whole blocks and one token more, so that all its blocks may be taken from a cache.
fn job(seed: u64, blocks: u64) -> Job {
    let chain: Vec<BlockHash> = (0..blocks).map(|block| BlockHash(mix(seed ^ mix(block)))).collect();
    let prompt_tokens = chain.len() * BLOCK_TOKENS + 1;
    Job {
        cells: [].into(),
        blocks: chain.into(),
        adapter: BASE_ADAPTER,
        prompt_tokens,
        output_tokens: 10,
        output_tokens_max: None,
        form: Form::default(),
    }
}

/// The prompt that is asked about.
fn asked() -> Job {
    job(7, (PROMPT_TOKENS / BLOCK_TOKENS) as u64)
}

/// A prompt that begins like it, of so many blocks.
fn beginning(blocks: usize) -> Job {
    let whole = asked();
    Job { blocks: whole.blocks[..blocks].into(), prompt_tokens: blocks * BLOCK_TOKENS + 1, ..whole }
}

#[test]
fn round_robin_takes_turns_and_least_requests_counts() {
    let mut two = Two::idle();
    let mut turns = RuleName::RoundRobin.formula().unwrap();
    assert_eq!([0, 1, 2].map(|_| turns.choose(&asked(), two.fleet.among())), [0, 1, 0]);
    two.send(0, &asked());
    assert_eq!(two.choose("least-requests", &asked()), 1);
}

#[test]
fn the_blend_trades_prefix_against_queue_by_three_to_two() {
    let mut whole = Two::idle();
    whole.send(0, &asked());
    assert_eq!(whole.choose("llm-d-3-2-2", &asked()), 0, "3 for the prefix beat 2 for the empty queue");
    let mut half = Two::idle();
    half.send(0, &beginning(50));
    assert_eq!(half.choose("llm-d-3-2-2", &asked()), 1, "1.5 do not");
}

#[test]
fn affinity_holds_from_four_fifths_on_until_the_holder_is_too_busy() {
    for (blocks, expected) in [(81, 0), (70, 1)] {
        let mut two = Two::idle();
        two.send(0, &beginning(blocks));
        assert_eq!(two.choose("llm-d-affinity", &asked()), expected, "{blocks} of 100 blocks held");
    }
    let mut busy = Two::idle();
    busy.send(0, &asked());
    busy.send(0, &job(1, 4_300));
    assert_eq!(busy.choose("llm-d-affinity", &asked()), 0, "281,600 tokens in front are not too many");
    busy.send(0, &job(2, 200));
    assert_eq!(busy.choose("llm-d-affinity", &asked()), 1, "288,000 and more are");
}

#[test]
fn dynamo_weighs_a_saved_prefill_by_its_scale() {
    let mut two = Two::idle();
    two.decode(0, &asked());
    two.decode(0, &job(1, 10));
    assert_eq!(two.choose("dynamo", &asked()), 1, "what decodes there weighs as much as what is saved");
    assert_eq!(two.choose("dynamo-32", &asked()), 0);
}

#[test]
fn sglang_goes_to_the_least_loaded_when_out_of_balance() {
    let mut two = Two::idle();
    two.decode(0, &asked());
    two.decode_others(0, 60);
    assert_eq!(two.choose("sglang", &asked()), 0, "61 requests more are balance");
    two.decode_others(0, 4);
    assert_eq!(two.choose("sglang", &asked()), 1, "65 are not");
    let mut little = Two::idle();
    little.decode(0, &beginning(25));
    assert_eq!(little.choose("sglang", &asked()), 1, "a quarter of the prompt is no match");
}

#[test]
fn lmetric_multiplies_what_affinity_keeps() {
    let mut two = Two::idle();
    two.decode(0, &asked());
    two.decode_others(0, 50);
    assert_eq!(two.choose("lmetric", &asked()), 0, "1 token times 52 is less than 6,401 times 1");
    let mut part = Two::idle();
    part.decode(0, &beginning(90));
    part.decode_others(0, 10);
    assert_eq!(part.choose("lmetric", &asked()), 1, "641 times 12 is more than 6,401 times 1");
    assert_eq!(part.choose("affinity-lmetric", &asked()), 0, "the holder passes alone");
}

#[test]
fn marginal_latency_counts_the_queue_and_those_that_are_slowed() {
    let mut two = Two::idle();
    two.decode(0, &asked());
    assert_eq!(two.choose("affinity-marginal", &asked()), 0);
    let mut cold = Two::idle();
    cold.decode_others(0, 20);
    assert_eq!(cold.choose("affinity-marginal", &asked()), 1, "20 others would wait for its prefill");
}

#[test]
fn the_bounds_rule_looks_at_the_queue_alone() {
    let mut two = Two::idle();
    two.decode_others(0, 5);
    two.send(1, &job(1, 3));
    assert_eq!(Endless::default().choose(&asked(), two.fleet.among()), 0);
}

/// Where a fixed rule sends a prompt of so many blocks, of which the decode engine, the last of two, holds so many.
fn route(mut rule: Apart, blocks: u64, held: usize) -> Route {
    let engine = Params { block_tokens: BLOCK_TOKENS, ..Params::new(Preset::Qwen3On2) };
    let spec = Spec { decoders: 1, has_transfer: true, ..Spec::new(vec![engine; 2]) };
    let mut fleet = Fleet::of(&spec);
    let asked = job(7, blocks);
    fleet.node_mut(1).engine.preload(&asked.blocks[..held]);
    let route = rule.route(0.0, 1, &asked, &fleet);
    if let Route::Apart(_) = route {
        assert_eq!(rule.decoder(0.0, 1, &asked, &fleet), Some(1), "only that one decodes");
    }
    route
}

#[test]
fn fixed_rules_split_what_the_decode_engine_lacks_too_much_of() {
    let (whole, apart) = (Route::Whole(1), Route::Apart(0));
    assert_eq!(route(Apart::always(), 100, 100), apart);
    // A token more than its blocks.
    assert_eq!([100, 99].map(|held| route(Apart::llmd(), 100, held)), [whole, apart]);
    // 1,985 and 2,049 tokens.
    assert_eq!([69, 68].map(|held| route(Apart::dynamo(), 100, held)), [whole, apart]);
    // 641 tokens, and 65 % and 75 % of them.
    assert_eq!([4, 2].map(|held| route(Apart::dynamo(), 10, held)), [whole, apart]);
}

#[test]
fn every_rule_has_a_name_of_its_own() {
    for rule in RuleName::ALL {
        assert_eq!(rule.name().parse::<RuleName>().unwrap(), rule);
    }
    assert!("magic".parse::<RuleName>().unwrap_err().to_string().contains("lmetric"));
}
