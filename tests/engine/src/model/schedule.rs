//! What goes into a step: decodes first, then the prefills under way, then the queue.
//!
//! A request leaves the queue only when blocks for all its known tokens are free (vLLM's
//! `scheduler_reserve_full_isl`), and gets them at once: only decodes can run out of blocks later. Then the
//! request admitted last gives up its blocks and starts over, with the tokens it has generated.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    engine::Engine,
    event::{Event, EventKind},
    sequence::Sequence,
    steptime::StepLoad,
};

impl Engine {
    /// Chooses the work of the step that begins now and returns how long it takes, in seconds.
    pub(super) fn begin_step(&mut self, now_s: f64) -> f64 {
        let mut load = StepLoad::default();
        let preempted = self.schedule_decodes(now_s, &mut load);
        self.schedule_prefills(&mut load);
        if !preempted {
            self.admit(now_s, &mut load);
        }
        debug_assert!(
            load.tokens() > 0 || self.running.is_empty(),
            "a step without work never ends a request"
        );
        self.stats.prefill_tokens_computed += load.prefill_tokens as u64;
        self.params.step_time.seconds(&load) * self.jitter()
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

    /// Takes requests from the head of the queue until one does not fit.
    fn admit(&mut self, now_s: f64, load: &mut StepLoad) {
        while load.tokens() < self.params.batched_tokens_max && self.running.len() < self.params.running_max {
            let Some(head) = self.waiting.front() else { return };
            let known = head.known();
            let reusable = self.reusable(known, &head.request.chain);
            let blocks = known.div_ceil(self.params.block_tokens);
            let Some(acquired) = self.cache.acquire(reusable, blocks) else { return };
            let Some(mut sequence) = self.waiting.pop_front() else { return };
            sequence.blocks = acquired.blocks;
            sequence.published = acquired.hits;
            sequence.computed = acquired.hits * self.params.block_tokens;
            self.book_admission(now_s, &sequence);
            let chunk = sequence.pending().min(self.params.batched_tokens_max - load.tokens());
            load.add_prefill(chunk, sequence.computed);
            self.running.push(sequence);
            self.schedule(self.running.len() - 1, chunk);
        }
    }

    fn book_admission(&mut self, now_s: f64, sequence: &Sequence) {
        if sequence.preemptions == 0 {
            self.stats.prefix_cache_queries += sequence.request.prompt_tokens as u64;
            self.stats.prefix_cache_hits += sequence.computed as u64;
        }
        let kind = EventKind::Admitted { cached_tokens: sequence.computed };
        self.events.push(Event { at_s: now_s, id: sequence.request.id, kind });
    }

    /// Books `tokens` for the step and names the blocks that they fill. As in vLLM the names count at once:
    /// a request admitted to the same step may share blocks that this step is about to fill.
    fn schedule(&mut self, at: usize, tokens: usize) {
        let sequence = &mut self.running[at];
        sequence.scheduled = tokens;
        let full = (sequence.computed + tokens) / self.params.block_tokens;
        let full = full.min(sequence.request.chain.len());
        for block in sequence.published..full {
            self.cache.publish(sequence.blocks[block], sequence.request.chain[block]);
        }
        sequence.published = sequence.published.max(full);
    }

    /// Sees to it that a decoding request has a block for its next token.
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
        self.stats.preemptions += 1;
        self.events.push(Event { at_s: now_s, id: sequence.request.id, kind: EventKind::Preempted });
        self.waiting.push_front(sequence);
    }

    /// A factor that depends on the seed and the number of the step alone.
    fn jitter(&self) -> f64 {
        let random = xxh3_64_with_seed(&self.stats.steps.to_le_bytes(), self.params.seed);
        let signed_unit = random as f64 / u64::MAX as f64 * 2.0 - 1.0;
        1.0 + self.params.jitter * signed_unit
    }
}
