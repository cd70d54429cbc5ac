//! Keys and values that come from elsewhere instead of being computed: loads from tiers, transfers from the
//! engine that did the prefill; and the other end of a transfer, blocks that wait to be fetched.
//!
//! A request takes all its blocks when it leaves the queue, waits beside the steps of the others, and joins the
//! step that begins after its content came, as with vLLM's asynchronous connectors. Its loaded blocks get their
//! names then, not before: until then nobody can share them.
//!
//! From a tier comes only what is cheaper to load than to compute: a stretch of `n` tokens after `p` others is
//! loaded iff `bytes/bandwidth + fixed < c_tok*n + c_pair*(n*p + n^2/2)`. The first stretch that is not ends
//! the load. Waiting for other loads on the same link is no part of the rule: engines do not look at it either.

use super::{
    cache::BlockId,
    engine::Engine,
    event::EventKind,
    schedule::publish,
    sequence::{RequestId, Sequence},
};
use std::ops::Range;

/// A request that has its blocks and waits for their content.
#[derive(Debug)]
pub(super) struct Loading {
    pub(super) sequence: Sequence,
    arrives_at_s: f64,
}

/// The blocks of a finished prefill.
#[derive(Debug)]
pub(super) struct Held {
    id: RequestId,
    blocks: Vec<BlockId>,
    until_s: f64,
}

/// Blocks of a chain that come from one tier.
#[derive(Debug)]
pub(super) struct Stretch {
    tier: usize,
    blocks: Range<usize>,
}

// === impl Engine ===

impl Engine {
    /// Which blocks of a waiting request to load from tiers, in prompt order.
    pub(super) fn plan_loads(&self, sequence: &Sequence) -> Vec<Stretch> {
        let mut plan = Vec::new();
        if !self.cache.has_tiers() || sequence.remote_tokens > 0 {
            return plan;
        }
        let chain = self.reusable(sequence.known(), &sequence.request.chain);
        let mut at = self.cache.hit_blocks(chain);
        while let Some(tier) = chain.get(at).and_then(|hash| self.cache.tier_of(*hash)) {
            let same = chain[at..].iter().take_while(|hash| self.cache.tier_of(**hash) == Some(tier));
            let blocks = at..at + same.count();
            at = blocks.end;
            let stretch = Stretch { tier, blocks };
            if !self.is_worth_loading(&stretch) {
                break;
            }
            plan.push(stretch);
        }
        plan
    }

    fn is_worth_loading(&self, stretch: &Stretch) -> bool {
        let Self { params, .. } = self;
        let tokens = stretch.blocks.len() * params.block_tokens;
        let prefix = stretch.blocks.start * params.block_tokens;
        let load_s = params.tiers[stretch.tier].load.seconds(tokens as f64 * params.kv_token_bytes);
        load_s < params.step_time.prefill_seconds(tokens, prefix, params.batched_tokens_max)
    }

    /// Starts what has to come for a request that was just admitted. Returns the request if nothing has to.
    pub(super) fn start_arrival(
        &mut self,
        now_s: f64,
        mut sequence: Sequence,
        plan: &[Stretch],
    ) -> Option<Sequence> {
        let arrives_at_s = if sequence.remote_tokens > sequence.computed {
            self.start_transfer(now_s, &mut sequence)
        } else if plan.is_empty() {
            return Some(sequence);
        } else {
            self.start_loads(now_s, &mut sequence, plan)
        };
        self.loading.push(Loading { sequence, arrives_at_s });
        self.set_timer();
        None
    }

    fn start_loads(&mut self, now_s: f64, sequence: &mut Sequence, plan: &[Stretch]) -> f64 {
        let mut arrives_at_s = now_s;
        for Stretch { tier, blocks } in plan {
            let tokens = blocks.len() * self.params.block_tokens;
            let bytes = tokens as f64 * self.params.kv_token_bytes;
            arrives_at_s = arrives_at_s.max(self.tier_links[*tier].carry(now_s, bytes));
            self.cache.touch_below(*tier, &sequence.request.chain[blocks.clone()]);
            sequence.computed = blocks.end * self.params.block_tokens;
            let tier = self.params.tiers[*tier].tier;
            self.stats.tier_tokens[tier.index()] += tokens as u64;
            self.emit(now_s, sequence.request.id, EventKind::Loading { tier, tokens });
        }
        self.stats.loads += 1;
        arrives_at_s
    }

    fn start_transfer(&mut self, now_s: f64, sequence: &mut Sequence) -> f64 {
        let tokens = sequence.remote_tokens - sequence.computed;
        // Making the first token computes the prompt's last token, whether its keys and values came or not.
        sequence.transferred = sequence.remote_tokens == sequence.request.prompt_tokens;
        sequence.computed = sequence.remote_tokens - usize::from(sequence.transferred);
        self.stats.transfers += 1;
        self.stats.transfer_tokens += tokens as u64;
        self.emit(now_s, sequence.request.id, EventKind::Transferring { tokens });
        self.transfer_link.carry(now_s, tokens as f64 * self.params.kv_token_bytes)
    }

    /// Keeps the blocks of a finished prefill for whoever fetches them.
    pub(super) fn hold(&mut self, now_s: f64, id: RequestId, blocks: Vec<BlockId>) {
        self.held.push(Held { id, blocks, until_s: now_s + self.params.held_s_max });
        self.set_timer();
    }

    /// Frees the blocks of a finished [`super::Leg::Prefill`]: they were fetched, or nobody will fetch them.
    /// Returns whether they were still held at `now_s`.
    pub fn release_held(&mut self, now_s: f64, id: RequestId) -> bool {
        self.settle(now_s, false);
        let Some(at) = self.held.iter().position(|held| held.id == id) else { return false };
        let held = self.held.remove(at);
        self.cache.release(&held.blocks);
        self.set_timer();
        self.wake(now_s);
        true
    }

    /// The blocks of a finished prefill; `None` if it holds none at `now_s`.
    pub fn held_blocks(&mut self, now_s: f64, id: RequestId) -> Option<&[BlockId]> {
        self.settle(now_s, false);
        self.held.iter().find(|held| held.id == id).map(|held| held.blocks.as_slice())
    }

    /// Begins the lease of a finished prefill again, as the heartbeat of the engine that fetches it does. Returns whether
    /// its blocks were still held at `now_s`.
    pub fn renew_held(&mut self, now_s: f64, id: RequestId) -> bool {
        self.settle(now_s, false);
        let until_s = now_s + self.params.held_s_max;
        let Some(held) = self.held.iter_mut().find(|held| held.id == id) else { return false };
        held.until_s = until_s;
        self.set_timer();
        true
    }

    /// Frees all that is held: the process is another one.
    pub fn drop_held(&mut self, now_s: f64) {
        self.settle(now_s, false);
        for held in std::mem::take(&mut self.held) {
            self.cache.release(&held.blocks);
        }
        self.set_timer();
        self.wake(now_s);
    }

    /// The next moment at which something arrives or is held no longer.
    pub(super) fn set_timer(&mut self) {
        let arrivals = self.loading.iter().map(|loading| loading.arrives_at_s);
        let ends = self.held.iter().map(|held| held.until_s);
        self.timer_s = arrivals.chain(ends).fold(f64::INFINITY, f64::min);
    }

    /// Does what the timer was set for.
    pub(super) fn ring(&mut self, at_s: f64) {
        while let Some(at) = self.loading.iter().position(|loading| loading.arrives_at_s <= at_s) {
            let mut sequence = self.loading.remove(at).sequence;
            publish(&mut self.cache, self.params.block_tokens, &mut sequence);
            self.emit(at_s, sequence.request.id, EventKind::Loaded);
            self.loaded.push_back(sequence);
        }
        while let Some(at) = self.held.iter().position(|held| held.until_s <= at_s) {
            let held = self.held.remove(at);
            self.cache.release(&held.blocks);
            self.stats.holds_expired += 1;
            self.emit(at_s, held.id, EventKind::HoldExpired);
        }
        self.set_timer();
        self.wake(at_s);
    }
}
