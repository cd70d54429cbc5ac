//! The engine's outside: requests in, events out, and the clock that the driver holds.
//!
//! A step begins when the last one ends, or with the first request to an idle engine; requests that come
//! during a step wait for its end, as they do in a real engine. The driver passes the time with every
//! call; it must never go back.
//!
//! Beside the steps runs one timer, for what arrives or expires between them, see `arrive`.

use super::{
    adapters::{Adapters, BASE},
    arrive::{Held, Loading},
    cache::PagedCache,
    chain::BlockHash,
    changes::CacheChange,
    event::{Event, EventKind, FinishReason},
    load::Link,
    params::Params,
    sequence::{Leg, Request, RequestId, Sequence},
    stats::Stats,
    tier::PerTier,
};
use std::collections::VecDeque;

/// Why a request cannot be taken at all. A full cache is no reason: such a request waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// There is no prompt; the model needs at least one token to begin with.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// There is nothing to generate.
    #[error("at least one token must be generated")]
    NoOutput,
    /// Prompt and output together can never fit into the cache.
    #[error("{tokens} tokens do not fit into a cache of {capacity} tokens")]
    TooLong {
        /// Tokens of prompt and output.
        tokens: usize,
        /// Tokens that the whole cache holds.
        capacity: usize,
    },
    /// An adapter is named and the engine takes none.
    #[error("the engine has no room for adapters")]
    NoAdapters,
}

/// One simulated engine.
#[derive(Debug)]
pub struct Engine {
    pub(super) params: Params,
    pub(super) cache: PagedCache,
    /// First come, first served; preempted requests come back to the front.
    pub(super) waiting: VecDeque<Sequence>,
    /// In order of admission; the last one is preempted first.
    pub(super) running: Vec<Sequence>,
    /// With blocks whose content is on its way, in order of admission.
    pub(super) loading: Vec<Loading>,
    /// With blocks whose content has arrived, in order of arrival; the next steps take them.
    pub(super) loaded: VecDeque<Sequence>,
    pub(super) held: Vec<Held>,
    /// One for each of the tiers.
    pub(super) tier_links: Vec<Link>,
    pub(super) transfer_link: Link,
    pub(super) adapters: Adapters,
    /// Prompt tokens of the queue.
    pub(super) waiting_tokens: usize,
    /// The next arrival or expiry; infinite without.
    pub(super) timer_s: f64,
    pub(super) stats: Stats,
    events: Vec<Event>,
    /// End of the running step.
    step_ends_at_s: Option<f64>,
    /// From when on the next step may begin; infinite while only the timer can make one possible.
    ready_at_s: f64,
    /// When the start-up is over.
    started_at_s: f64,
}

// === impl Engine ===

impl Engine {
    /// An idle engine with an empty cache, ready at once.
    pub fn new(params: Params) -> Self {
        let tiers = params.tiers.iter().map(|tier| tier.tokens / params.block_tokens);
        Self {
            cache: PagedCache::with_tiers(params.blocks(), tiers),
            tier_links: params.tiers.iter().map(|tier| Link::new(tier.load)).collect(),
            transfer_link: Link::new(params.transfer),
            adapters: Adapters::new(params.adapters_max),
            params,
            waiting: VecDeque::new(),
            running: Vec::new(),
            loading: Vec::new(),
            loaded: VecDeque::new(),
            held: Vec::new(),
            waiting_tokens: 0,
            timer_s: f64::INFINITY,
            stats: Stats::default(),
            events: Vec::new(),
            step_ends_at_s: None,
            ready_at_s: 0.0,
            started_at_s: f64::NEG_INFINITY,
        }
    }

    /// An engine that is started at `now_s`: requests wait until [`Params::startup_s`] later.
    pub fn starting_at(now_s: f64, params: Params) -> Self {
        let started_at_s = now_s + params.startup_s;
        Self { started_at_s, ..Self::new(params) }
    }

    /// When the start-up is or was over, in seconds; minus infinity for an engine that had none.
    pub fn ready_at(&self) -> f64 {
        self.started_at_s
    }

    /// What the engine is.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Puts a request at the end of the queue. Requests submitted at the same `now_s` may share a step.
    pub fn submit(&mut self, now_s: f64, request: Request) -> Result<(), SubmitError> {
        self.settle(now_s, false);
        self.check(&request)?;
        self.wake(now_s);
        self.waiting_tokens += request.prompt_tokens;
        self.waiting.push_back(Sequence::new(request));
        Ok(())
    }

    /// Takes a request back, wherever it is; its blocks are free at once, the running step takes as long as it
    /// would have. Returns whether the request was still in flight at `now_s`; a prefill that is held is not.
    pub fn abort(&mut self, now_s: f64, id: RequestId) -> bool {
        self.settle(now_s, false);
        let Some(sequence) = self.take_out(id) else { return false };
        self.cache.release(&sequence.blocks);
        self.stats.aborted += 1;
        self.set_timer();
        self.wake(now_s);
        true
    }

    fn take_out(&mut self, id: RequestId) -> Option<Sequence> {
        let found = |sequence: &Sequence| sequence.request.id == id;
        if let Some(at) = self.running.iter().position(found) {
            let sequence = self.running.remove(at);
            self.adapters.leave(sequence.request.adapter);
            return Some(sequence);
        }
        if let Some(at) = self.waiting.iter().position(found) {
            let sequence = self.waiting.remove(at)?;
            self.waiting_tokens -= sequence.request.prompt_tokens;
            return Some(sequence);
        }
        if let Some(at) = self.loading.iter().position(|loading| found(&loading.sequence)) {
            return Some(self.loading.remove(at).sequence);
        }
        self.loaded.iter().position(found).and_then(|at| self.loaded.remove(at))
    }

    /// When [`Self::advance`] will next have something to do, in seconds; `None` while idle.
    pub fn next_step_at(&self) -> Option<f64> {
        let at_s = self.step_at().min(self.timer_s);
        at_s.is_finite().then_some(at_s)
    }

    /// Runs all steps up to `now_s` and returns what happened since the last call, in order of time.
    /// That may be nothing, even at [`Self::next_step_at`].
    pub fn advance(&mut self, now_s: f64) -> Vec<Event> {
        self.settle(now_s, true);
        std::mem::take(&mut self.events)
    }

    /// The numbers as of the last call that passed the time.
    pub fn stats(&self) -> Stats {
        Stats {
            running: self.running.len(),
            loading: self.loading.len() + self.loaded.len(),
            held: self.held.len(),
            waiting: self.waiting.len(),
            waiting_tokens: self.waiting_tokens,
            blocks_in_use: self.cache.blocks_in_use(),
            blocks_cached: self.cache.blocks_cached(),
            blocks_total: self.cache.blocks_total(),
            blocks_below: self
                .per_tier((0..self.params.tiers.len()).map(|at| (at, self.cache.blocks_below(at)))),
            ..self.stats
        }
    }

    /// Tokens of a prompt that the cache holds on the GPU now, out of `prompt_tokens` with this chain; what an oracle
    /// router would know. Leaves the order of eviction alone.
    pub fn cached_tokens(&self, prompt_tokens: usize, chain: &[BlockHash]) -> usize {
        self.cache.hit_blocks(self.reusable(prompt_tokens, chain)) * self.params.block_tokens
    }

    /// Tokens of the same prompt that continue [`Self::cached_tokens`] in tiers, each block counted for the nearest
    /// tier that has it; whether loading them is worth it is another question.
    pub fn tier_tokens(&self, prompt_tokens: usize, chain: &[BlockHash]) -> PerTier<usize> {
        let chain = self.reusable(prompt_tokens, chain);
        let below = chain[self.cache.hit_blocks(chain)..].iter().map_while(|hash| self.cache.tier_of(*hash));
        self.per_tier(below.map(|at| (at, self.params.block_tokens)))
    }

    /// The LoRA adapters on the GPU, the one used longest ago first.
    pub fn adapters(&self) -> impl Iterator<Item = u32> + '_ {
        self.adapters.resident()
    }

    /// Puts blocks into the cache as if they had been computed long ago, as many as there is room for. No real
    /// engine can do that: it is for bounds, where engines share what they know.
    pub fn preload(&mut self, chain: &[BlockHash]) {
        let Some(acquired) = self.cache.acquire(chain, chain.len()) else { return };
        for (block, hash) in acquired.blocks.iter().zip(chain).skip(acquired.hits) {
            self.cache.publish(*block, *hash);
        }
        self.cache.release(&acquired.blocks);
    }

    /// Empties the cache and its tiers. Requests in flight go on with the blocks they have.
    pub fn forget(&mut self) {
        self.cache.forget();
    }

    /// Keeps account of the cache's changes from now on, for [`Self::take_changes`].
    pub fn record_changes(&mut self) {
        self.cache.changes.start();
    }

    /// What has changed in the cache, one list for each step that has ended since the last call. What changed after the
    /// last of them comes with the next.
    pub fn take_changes(&mut self) -> Vec<Vec<CacheChange>> {
        self.cache.changes.take()
    }

    /// Forgets the changes that were not taken.
    pub fn discard_changes(&mut self) {
        self.cache.changes.discard();
    }

    /// The part of a chain that may be taken from the cache: the last known token is always computed,
    /// because its computation makes the next one.
    pub(super) fn reusable<'a>(&self, known: usize, chain: &'a [BlockHash]) -> &'a [BlockHash] {
        let blocks = known.saturating_sub(1) / self.params.block_tokens;
        &chain[..blocks.min(chain.len())]
    }

    fn per_tier(&self, counts: impl Iterator<Item = (usize, usize)>) -> PerTier<usize> {
        let mut sums = PerTier::default();
        for (at, count) in counts {
            sums[self.params.tiers[at].tier.index()] += count;
        }
        sums
    }

    pub(super) fn emit(&mut self, at_s: f64, id: RequestId, kind: EventKind) {
        self.events.push(Event { at_s, id, kind });
    }

    /// Lets a step begin at `now_s` if none is running: there may be work or room that was not there before.
    pub(super) fn wake(&mut self, now_s: f64) {
        if self.step_ends_at_s.is_none() {
            self.ready_at_s = now_s.max(self.started_at_s);
        }
    }

    /// When the running step ends or the next one begins; infinite if that is not known.
    fn step_at(&self) -> f64 {
        let has_work = !self.running.is_empty() || !self.waiting.is_empty() || !self.loaded.is_empty();
        self.step_ends_at_s.unwrap_or(if has_work { self.ready_at_s } else { f64::INFINITY })
    }

    fn check(&self, request: &Request) -> Result<(), SubmitError> {
        let tokens = request.prompt_tokens + request.output_tokens;
        let capacity = self.cache.blocks_total() * self.params.block_tokens;
        match request {
            Request { prompt_tokens: 0, .. } => Err(SubmitError::EmptyPrompt),
            Request { output_tokens: 0, .. } => Err(SubmitError::NoOutput),
            Request { adapter, .. } if *adapter != BASE && self.params.adapters_max == 0 => {
                Err(SubmitError::NoAdapters)
            }
            _ if tokens > capacity => Err(SubmitError::TooLong { tokens, capacity }),
            _ => Ok(()),
        }
    }

    /// Ends the steps that end by `now_s` and begins the next ones. A step that could begin exactly now
    /// begins only if `begin_now`, so that more requests can still join it.
    pub(super) fn settle(&mut self, now_s: f64, begin_now: bool) {
        loop {
            let at_s = self.step_at();
            if self.timer_s <= at_s.min(now_s) {
                self.ring(self.timer_s);
            } else if at_s > now_s || at_s.is_infinite() {
                return;
            } else if self.step_ends_at_s.take().is_some() {
                self.ready_at_s = at_s;
                self.finish_step(at_s);
            } else if at_s < now_s || begin_now {
                self.start_step(at_s);
            } else {
                return;
            }
        }
    }

    fn start_step(&mut self, at_s: f64) {
        let Some(duration_s) = self.begin_step(at_s) else {
            self.ready_at_s = f64::INFINITY;
            return;
        };
        self.stats.steps += 1;
        self.stats.busy_s += duration_s;
        self.step_ends_at_s = Some(at_s + duration_s);
    }

    /// Books what the step computed, emits tokens and lets finished requests go.
    fn finish_step(&mut self, at_s: f64) {
        let Self { running, cache, events, stats, adapters, params, .. } = self;
        let mut to_hold = Vec::new();
        running.retain_mut(|sequence| {
            sequence.computed += std::mem::take(&mut sequence.scheduled);
            if sequence.pending() > 0 {
                return true;
            }
            sequence.emitted += 1;
            stats.generation_tokens += 1;
            let id = sequence.request.id;
            let mut emit = |kind| events.push(Event { at_s, id, kind });
            if sequence.emitted == 1 {
                stats.prompt_tokens += sequence.request.prompt_tokens as u64;
                emit(EventKind::FirstToken);
            } else if params.emits_tokens {
                emit(EventKind::Token);
            }
            if sequence.emitted < sequence.request.output_tokens {
                return true;
            }
            emit(EventKind::Finished(FinishReason::Length));
            stats.finished += 1;
            adapters.leave(sequence.request.adapter);
            if sequence.request.leg == Leg::Prefill {
                to_hold.push((id, std::mem::take(&mut sequence.blocks)));
            } else {
                cache.release(&sequence.blocks);
            }
            false
        });
        cache.changes.end_step();
        for (id, blocks) in to_hold {
            self.hold(at_s, id, blocks);
        }
    }
}
