//! The work of a step: decodes first, then the prefills under way, then what has arrived, then the queue.
//!
//! A request leaves the queue only when blocks for all its known tokens are free (vLLM's
//! `scheduler_reserve_full_isl`), and gets them at once: only decodes can run out of blocks later. Then the
//! request admitted last gives up its blocks and starts over, with the tokens it has generated.

use super::{
    cache::PagedCache, changes::CacheChange, engine::Engine, event::EventKind, sequence::Sequence,
    steptime::StepLoad,
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

// === impl Engine ===

impl Engine {
    /// Chooses the work of the step that begins now and returns how long it takes, in seconds; `None` when
    /// no request waits for a step.
    pub(super) fn begin_step(&mut self, now_s: f64) -> Option<f64> {
        let mut load = StepLoad::default();
        let adapter_loads = self.stats.adapter_loads;
        let preempted = self.schedule_decodes(now_s, &mut load);
        self.schedule_prefills(&mut load);
        // After a preemption there is no room for more, unless the only one that ran was sent back.
        if !preempted || self.running.is_empty() {
            self.join_loaded(&mut load);
            self.admit(now_s, &mut load);
        }
        if load.tokens() == 0 {
            debug_assert!(self.running.is_empty(), "a step without work never ends a request");
            return None;
        }
        self.stats.prefill_tokens_computed += load.prefill_tokens as u64;
        let adapter_loads = (self.stats.adapter_loads - adapter_loads) as f64;
        let duration_s = self.params.step_time.seconds(&load) * self.jitter();
        Some(duration_s + adapter_loads * self.params.adapter_load_s)
    }

    /// One token for each request that decodes. Returns whether one had to be preempted for it.
    fn schedule_decodes(&mut self, now_s: f64, load: &mut StepLoad) -> bool {
        let mut preempted = false;
        let mut at = 0;
        while at < self.running.len() && load.tokens() < self.params.batched_tokens_max {
            if self.running[at].is_decode() {
                while !self.make_room(at) {
                    self.preempt_last(now_s);
                    preempted = true;
                    if at == self.running.len() {
                        return preempted;
                    }
                }
                load.add_decode(self.running[at].known());
                self.schedule(at, 1);
            }
            at += 1;
        }
        preempted
    }

    /// The next chunk of each prompt that is under way.
    fn schedule_prefills(&mut self, load: &mut StepLoad) {
        for at in 0..self.running.len() {
            let sequence = &self.running[at];
            let budget = self.params.batched_tokens_max - load.tokens();
            let chunk = sequence.pending().min(budget);
            if sequence.is_decode() || chunk == 0 {
                continue;
            }
            load.add_prefill(chunk, sequence.computed);
            self.schedule(at, chunk);
        }
    }

    /// Requests whose content has arrived, in the order of arrival.
    fn join_loaded(&mut self, load: &mut StepLoad) {
        let mut at = 0;
        while self.can_take_more(load) {
            let Some(next) = self.loaded.get(at) else { return };
            if !self.adapters.has_room(next.request.adapter) {
                at += 1;
                continue;
            }
            let Some(sequence) = self.loaded.remove(at) else { return };
            self.join(sequence, load);
        }
    }

    /// Takes requests from the head of the queue until one does not fit. Those without room for their adapter
    /// are passed over.
    fn admit(&mut self, now_s: f64, load: &mut StepLoad) {
        let mut at = 0;
        while self.can_take_more(load) {
            let Some(head) = self.waiting.get(at) else { return };
            if !self.adapters.has_room(head.request.adapter) {
                at += 1;
                continue;
            }
            if self.cannot_fit(head) {
                return;
            }
            let plan = self.plan_loads(head);
            let blocks = head.known().div_ceil(self.params.block_tokens);
            let reusable = self.reusable(head.known(), &head.request.chain);
            let Some(acquired) = self.cache.acquire(reusable, blocks) else {
                self.waiting[at].hits_seen = Some(self.cache.hit_blocks(reusable));
                return;
            };
            let Some(mut sequence) = self.waiting.remove(at) else { return };
            self.waiting_tokens -= sequence.request.prompt_tokens;
            sequence.blocks = acquired.blocks;
            sequence.published = acquired.hits;
            sequence.computed = acquired.hits * self.params.block_tokens;
            self.book_admission(now_s, &sequence);
            if let Some(sequence) = self.start_arrival(now_s, sequence, &plan) {
                self.join(sequence, load);
            }
        }
    }

    fn can_take_more(&self, load: &StepLoad) -> bool {
        load.tokens() < self.params.batched_tokens_max && self.running.len() < self.params.running_max
    }

    /// Whether a request that did not fit certainly does not fit now either: the cache holds no further block of
    /// it, and what is free would not do even if all blocks that it found were in use. Saves the lookup of its
    /// whole chain in each step.
    fn cannot_fit(&self, sequence: &Sequence) -> bool {
        let Some(hits) = sequence.hits_seen else { return false };
        let reusable = self.reusable(sequence.known(), &sequence.request.chain);
        let blocks = sequence.known().div_ceil(self.params.block_tokens);
        blocks > self.cache.blocks_free() + hits
            && reusable.get(hits).is_none_or(|next| self.cache.hit_blocks(&[*next]) == 0)
    }

    /// Gives a request with blocks its part of the step.
    fn join(&mut self, sequence: Sequence, load: &mut StepLoad) {
        if self.adapters.enter(sequence.request.adapter) {
            self.stats.adapter_loads += 1;
        }
        let chunk = sequence.pending().min(self.params.batched_tokens_max - load.tokens());
        if sequence.transferred {
            load.add_decode(sequence.known());
        } else {
            load.add_prefill(chunk, sequence.computed);
        }
        self.running.push(sequence);
        self.schedule(self.running.len() - 1, chunk);
    }

    fn book_admission(&mut self, now_s: f64, sequence: &Sequence) {
        if sequence.preemptions == 0 {
            self.stats.prefix_cache_queries += sequence.request.prompt_tokens as u64;
            self.stats.prefix_cache_hits += sequence.computed as u64;
        }
        self.emit(now_s, sequence.request.id, EventKind::Admitted { cached_tokens: sequence.computed });
    }

    /// Books `tokens` for the step and names the blocks that they fill. As in vLLM the names count at once:
    /// a request admitted to the same step may share blocks that this step is about to fill.
    fn schedule(&mut self, at: usize, tokens: usize) {
        let Self { running, cache, params, .. } = self;
        let sequence = &mut running[at];
        sequence.scheduled = tokens;
        publish(cache, params.block_tokens, sequence);
    }

    /// Ensures that a decoding request has a block for its next token.
    fn make_room(&mut self, at: usize) -> bool {
        let sequence = &mut self.running[at];
        if sequence.known() <= sequence.blocks.len() * self.params.block_tokens {
            return true;
        }
        let block = self.cache.grow();
        sequence.blocks.extend(block);
        block.is_some()
    }

    /// Sends the request that was admitted last back to the head of the queue, without its blocks.
    fn preempt_last(&mut self, now_s: f64) {
        let Some(mut sequence) = self.running.pop() else { return };
        self.cache.release(&std::mem::take(&mut sequence.blocks));
        sequence.computed = 0;
        sequence.published = 0;
        sequence.preemptions += 1;
        sequence.remote_tokens = 0;
        sequence.transferred = false;
        self.adapters.leave(sequence.request.adapter);
        self.stats.preemptions += 1;
        self.emit(now_s, sequence.request.id, EventKind::Preempted);
        self.waiting_tokens += sequence.request.prompt_tokens;
        self.waiting.push_front(sequence);
    }

    /// A factor that depends on the seed and the number of the step alone.
    fn jitter(&self) -> f64 {
        if self.params.jitter == 0.0 {
            return 1.0;
        }
        let random = xxh3_64_with_seed(&self.stats.steps.to_le_bytes(), self.params.seed);
        let signed_unit = random as f64 / u64::MAX as f64 * 2.0 - 1.0;
        1.0 + self.params.jitter * signed_unit
    }
}

/// Names the blocks that are full, or will be after the running step.
pub(super) fn publish(cache: &mut PagedCache, block_tokens: usize, sequence: &mut Sequence) {
    let full = (sequence.computed + sequence.scheduled) / block_tokens;
    let full = full.min(sequence.request.chain.len());
    for at in sequence.published..full {
        if cache.publish(sequence.blocks[at], sequence.request.chain[at]) {
            cache.changes.note(CacheChange::Stored { request: sequence.request.id, at });
        }
    }
    sequence.published = sequence.published.max(full);
}
