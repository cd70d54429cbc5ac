//! The engines, and what a router with perfect sight would know of them.
//!
//! The other rules get this sight: exact loads and exact caches, without delay, requests that were sent a
//! moment ago included. What they lack in the field cannot make them look worse here.
//!
//! They see only engines that may be chosen; those that are yet to join stand behind them, and those that only
//! decode.

use crate::run::Spec;
use crate::workload::Job;
use std::sync::Arc;
use warmpath_engine::model::{
    BlockHash, Engine, Leg, Params, Request, RequestId, Stats, StepLoad, SubmitError,
};

/// Tokens by which speeds are told: a full step of vLLM's default size.
const FULL_STEP_TOKENS: usize = 8_192;

/// All engines.
#[derive(Debug)]
pub struct Fleet {
    nodes: Vec<Node>,
    /// How many of them may be chosen.
    open: usize,
    /// How many of the last only decode what others prefill.
    decoders: usize,
}

/// Engines that one choice is among.
#[derive(Clone, Copy, Debug)]
pub struct Among<'a>(&'a [Node]);

/// One engine with what is booked on it.
#[derive(Debug)]
pub struct Node {
    /// The engine itself.
    pub engine: Engine,
    /// How fast it is.
    pub speed: Speed,
    /// What it has to do.
    pub load: Load,
    /// Chains of requests that were sent and have no first token yet: they will be in the cache.
    coming: Vec<(RequestId, Arc<[BlockHash]>)>,
}

/// Exact figures of the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Requests sent and not ended.
    pub requests: usize,
    /// Those of them without a first token.
    pub prefills: usize,
    /// Prompt tokens of those that were in no cache when they were sent.
    pub prefill_tokens: usize,
    /// Prompt tokens of all requests.
    pub context_tokens: usize,
}

/// An engine's speed, as rules that calculate in seconds need it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Seconds for a token of a full prefill step.
    pub prefill_s_per_token: f64,
    /// Seconds for a pair of a new token and one before it.
    pub pair_s: f64,
    /// Seconds that a token of context adds to a decode step.
    pub context_s_per_token: f64,
    /// Seconds of a decode step that does nothing else.
    pub step_s: f64,
}

// === impl Fleet ===

impl Fleet {
    /// Idle engines.
    pub fn new(engines: &[Params]) -> Self {
        let nodes: Vec<Node> = engines.iter().map(|params| Node::new(Engine::new(params.clone()))).collect();
        Self { open: nodes.len(), nodes, decoders: 0 }
    }

    /// Idle engines of which some join later.
    pub fn of(spec: &Spec) -> Self {
        let mut fleet = Self::new(&spec.engines);
        (fleet.open, fleet.decoders) = (spec.first(), spec.decoders);
        for (node, start_s) in fleet.nodes.iter_mut().skip(fleet.open).zip(&spec.starts_s) {
            node.engine = Engine::starting_at(*start_s, node.engine.params().clone());
        }
        fleet
    }

    /// The next engine joins.
    pub fn open(&mut self) {
        self.open = (self.open + 1).min(self.nodes.len() - self.decoders);
    }

    /// How many engines may be chosen, those that only decode left out.
    pub fn len(&self) -> usize {
        self.open
    }

    /// Whether none may.
    pub fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// All engines, also those that no rule may choose.
    pub fn all(&self) -> &[Node] {
        &self.nodes
    }

    /// The engines that may be chosen for a whole request, or to prefill one where others decode.
    pub fn among(&self) -> Among<'_> {
        Among(&self.nodes[..self.open])
    }

    /// The place of the first engine that only decodes, and all of these.
    pub fn decoders(&self) -> (usize, Among<'_>) {
        let first = self.nodes.len() - self.decoders;
        (first, Among(&self.nodes[first..]))
    }

    /// One engine.
    pub fn node_mut(&mut self, at: usize) -> &mut Node {
        &mut self.nodes[at]
    }
}

// === impl Among ===

impl<'a> Among<'a> {
    /// The engines, in order.
    pub fn nodes(self) -> &'a [Node] {
        self.0
    }

    /// How many.
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Tokens of a prompt that each engine has, or will have when it comes to it.
    pub fn hits(self, job: &Job) -> Vec<usize> {
        self.0.iter().map(|node| node.hit_tokens(job)).collect()
    }

    /// The engine with the least of `key`; of equal ones, the first after `from`.
    pub fn least<K: PartialOrd>(self, from: usize, mut key: impl FnMut(usize, &Node) -> K) -> usize {
        let count = self.len();
        let mut best: Option<(usize, K)> = None;
        for step in 0..count {
            let at = (from + step) % count;
            let found = key(at, &self.0[at]);
            if best.as_ref().is_none_or(|(_, least)| found < *least) {
                best = Some((at, found));
            }
        }
        best.map_or(0, |(at, _)| at)
    }
}

// === impl Node ===

impl Node {
    fn new(engine: Engine) -> Self {
        let speed = Speed::of(engine.params());
        Self { engine, speed, load: Load::default(), coming: Vec::new() }
    }

    /// Numbers as the engine's own metrics tell them.
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// Requests that decode.
    pub fn decodes(&self) -> usize {
        self.load.requests - self.load.prefills
    }

    /// Sends a request, or a part of it. An error: the engine does not take it.
    pub fn send(&mut self, now_s: f64, id: RequestId, job: &Job, leg: Leg) -> Result<(), SubmitError> {
        let new = match leg {
            Leg::Whole | Leg::Prefill => self.uncached(job),
            Leg::Decode { .. } => 0,
        };
        let request = Request {
            adapter: job.adapter,
            leg,
            ..Request::new(id, job.prompt_tokens, job.output_tokens, job.blocks.to_vec())
        };
        self.engine.submit(now_s, request)?;
        self.load.requests += 1;
        self.load.prefills += 1;
        self.load.prefill_tokens += new;
        self.load.context_tokens += job.prompt_tokens;
        self.coming.push((id, Arc::clone(&job.blocks)));
        Ok(())
    }

    /// Notes a first token; `new_tokens` as [`Self::uncached`] told when the request was sent.
    pub fn first_token(&mut self, id: RequestId, new_tokens: usize) {
        self.load.prefills -= 1;
        self.load.prefill_tokens -= new_tokens;
        self.coming.retain(|(coming, _)| *coming != id);
    }

    /// Notes the end of a request that had its first token.
    pub fn ended(&mut self, job: &Job) {
        self.load.requests -= 1;
        self.load.context_tokens -= job.prompt_tokens;
    }

    /// Prompt tokens that the engine has, on the GPU or in the tiers below it, or will have when it comes to this
    /// request.
    pub fn hit_tokens(&self, job: &Job) -> usize {
        let params = self.engine.params();
        let block_tokens = params.block_tokens;
        let mut held = self.engine.cached_tokens(job.prompt_tokens, &job.blocks);
        if !params.tiers.is_empty() {
            held += self.engine.tier_tokens(job.prompt_tokens, &job.blocks).iter().sum::<usize>();
        }
        let coming = self.coming.iter().map(|(_, chain)| common(chain, &job.blocks)).max().unwrap_or(0);
        let reusable = job.prompt_tokens.saturating_sub(1) / block_tokens;
        held.max(coming.min(reusable) * block_tokens)
    }

    /// Prompt tokens that the engine would have to compute.
    pub fn uncached(&self, job: &Job) -> usize {
        job.prompt_tokens - self.hit_tokens(job)
    }
}

// === impl Speed ===

impl Speed {
    fn of(params: &Params) -> Self {
        let step = |load: StepLoad| params.step_time.seconds(&load);
        let prefill = |tokens, pairs| StepLoad { prefill_tokens: tokens, pairs, ..StepLoad::default() };
        let decode = |context| StepLoad { decodes: 1, context_tokens: context, ..StepLoad::default() };
        let full_s = step(prefill(FULL_STEP_TOKENS, 0.0));
        let pairs = 1e6;
        let context = 1_000_000;
        Self {
            prefill_s_per_token: full_s / FULL_STEP_TOKENS as f64,
            pair_s: (step(prefill(FULL_STEP_TOKENS, pairs)) - full_s) / pairs,
            context_s_per_token: (step(decode(context)) - step(decode(0))) / context as f64,
            step_s: step(decode(0)),
        }
    }

    /// Seconds to prefill the rest of a prompt behind `cached` tokens.
    pub fn prefill_s(&self, prompt_tokens: usize, cached: usize) -> f64 {
        let (cached, new) = (cached as f64, (prompt_tokens - cached) as f64);
        new * self.prefill_s_per_token + self.pair_s * (new * cached + new * new / 2.0)
    }
}

/// Blocks that two chains share from the first: equal at one place means equal before it.
fn common(one: &[BlockHash], other: &[BlockHash]) -> usize {
    let (mut low, mut high) = (0, one.len().min(other.len()));
    while low < high {
        let middle = (low + high).div_ceil(2);
        if one[middle - 1] == other[middle - 1] { low = middle } else { high = middle - 1 }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{BASE_ADAPTER, Form, mix};
    use warmpath_engine::Preset;
    use warmpath_engine::model::{Tier, TierParams};

    const BLOCK_TOKENS: usize = 64;
    /// Blocks of the engine's GPU.
    const GPU_BLOCKS: u64 = 100;

    fn job(seed: u64, blocks: u64) -> Job {
        let blocks: Vec<BlockHash> = (0..blocks).map(|block| BlockHash(mix(seed ^ mix(block)))).collect();
        let prompt_tokens = blocks.len() * BLOCK_TOKENS + 1;
        Job {
            cells: [].into(),
            blocks: blocks.into(),
            adapter: BASE_ADAPTER,
            prompt_tokens,
            output_tokens: 1,
            output_tokens_max: None,
            form: Form::default(),
        }
    }

    /// What rules see of a prompt of 80 blocks when 60 others came after it.
    fn seen_after_eviction(tiers: Vec<TierParams>) -> usize {
        let kv_tokens = GPU_BLOCKS as usize * BLOCK_TOKENS;
        let params = Params { kv_tokens, block_tokens: BLOCK_TOKENS, tiers, ..Params::new(Preset::Qwen3On2) };
        let mut fleet = Fleet::new(&[params]);
        let engine = &mut fleet.node_mut(0).engine;
        engine.preload(&job(1, 80).blocks);
        engine.preload(&job(2, 60).blocks);
        fleet.among().hits(&job(1, 80))[0] / BLOCK_TOKENS
    }

    #[test]
    fn rules_see_what_is_on_the_gpu_and_what_is_below_it() {
        assert_eq!(seen_after_eviction(Vec::new()), 40);
        let tier = |blocks| vec![TierParams::new(Preset::Qwen3On2, Tier::Cpu, blocks * BLOCK_TOKENS)];
        assert_eq!(seen_after_eviction(tier(1_000)), 80);
        assert_eq!(seen_after_eviction(tier(15)), 55, "the head of what was evicted stays the longest");
    }
}
