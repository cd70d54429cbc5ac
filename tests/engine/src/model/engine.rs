//! The engine's outside: requests in, events out, and the clock that the driver holds.
//!
//! A step begins when the last one ends, or with the first request to an idle engine; requests that come
//! during a step wait for its end, as they do in a real engine. The driver says what time it is with every
//! call and must never go back.

use std::collections::VecDeque;

use super::{
    cache::PagedCache,
    chain::BlockHash,
    event::{Event, EventKind, FinishReason},
    params::Params,
    sequence::{Request, RequestId, Sequence},
    stats::Stats,
};

/// Why a request cannot be taken at all. A full cache is no reason: such a request waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// There is no prompt; the model needs at least one token to begin with.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// There is nothing to generate.
    #[error("at least one token must be generated")]
    NoOutput,
    /// Prompt and answer together can never fit into the cache.
    #[error("{tokens} tokens do not fit into a cache of {capacity} tokens")]
    TooLong {
        /// Tokens of prompt and answer.
        tokens: usize,
        /// Tokens that the whole cache holds.
        capacity: usize,
    },
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
    pub(super) events: Vec<Event>,
    pub(super) stats: Stats,
    /// End of the running step.
    step_ends_at_s: Option<f64>,
    /// From when on the next step may begin.
    ready_at_s: f64,
}

impl Engine {
    /// An idle engine with an empty cache.
    pub fn new(params: Params) -> Self {
        Self {
            cache: PagedCache::new(params.blocks()),
            params,
            waiting: VecDeque::new(),
            running: Vec::new(),
            events: Vec::new(),
            stats: Stats::default(),
            step_ends_at_s: None,
            ready_at_s: 0.0,
        }
    }

    /// What the engine is.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Puts a request at the end of the queue. Requests submitted at the same `now_s` may share a step.
    pub fn submit(&mut self, now_s: f64, request: Request) -> Result<(), SubmitError> {
        self.settle(now_s, false);
        self.check(&request)?;
        if self.is_idle() {
            self.ready_at_s = now_s;
        }
        self.waiting.push_back(Sequence::new(request));
        Ok(())
    }

    /// Takes a request back; its blocks are free at once, the running step takes as long as it would have.
    /// Returns whether the request was still in flight at `now_s`.
    pub fn abort(&mut self, now_s: f64, id: RequestId) -> bool {
        self.settle(now_s, false);
        let found = |sequence: &Sequence| sequence.request.id == id;
        let sequence = if let Some(at) = self.running.iter().position(found) {
            Some(self.running.remove(at))
        } else {
            self.waiting.iter().position(found).and_then(|at| self.waiting.remove(at))
        };
        let Some(sequence) = sequence else { return false };
        self.cache.release(&sequence.blocks);
        self.stats.aborted += 1;
        true
    }

    /// When [`Self::advance`] will next have something to do, in seconds; `None` while idle.
    pub fn next_step_at(&self) -> Option<f64> {
        self.step_ends_at_s.or_else(|| (!self.is_idle()).then_some(self.ready_at_s))
    }

    /// Runs all steps up to `now_s` and returns what happened since the last call, in order of time.
    pub fn advance(&mut self, now_s: f64) -> Vec<Event> {
        self.settle(now_s, true);
        std::mem::take(&mut self.events)
    }

    /// The numbers as of the last call that told the time.
    pub fn stats(&self) -> Stats {
        Stats {
            running: self.running.len(),
            waiting: self.waiting.len(),
            waiting_tokens: self.waiting.iter().map(|sequence| sequence.request.prompt_tokens).sum(),
            blocks_in_use: self.cache.blocks_in_use(),
            blocks_cached: self.cache.blocks_cached(),
            blocks_total: self.cache.blocks_total(),
            ..self.stats
        }
    }

    /// Tokens of a prompt that the cache holds now, out of `prompt_tokens` with this chain; what an oracle
    /// router would know. Leaves the order of eviction alone.
    pub fn cached_tokens(&self, prompt_tokens: usize, chain: &[BlockHash]) -> usize {
        self.cache.hit_blocks(self.reusable(prompt_tokens, chain)) * self.params.block_tokens
    }

    /// Empties the cache. Requests in flight go on with the blocks they have.
    pub fn forget(&mut self) {
        self.cache.forget();
    }

    /// The part of a chain that may be taken from the cache: the last known token is always computed,
    /// because its computation makes the next one.
    pub(super) fn reusable<'a>(&self, known: usize, chain: &'a [BlockHash]) -> &'a [BlockHash] {
        let blocks = known.saturating_sub(1) / self.params.block_tokens;
        &chain[..blocks.min(chain.len())]
    }

    fn is_idle(&self) -> bool {
        self.step_ends_at_s.is_none() && self.waiting.is_empty() && self.running.is_empty()
    }

    fn check(&self, request: &Request) -> Result<(), SubmitError> {
        let tokens = request.prompt_tokens + request.output_tokens;
        let capacity = self.cache.blocks_total() * self.params.block_tokens;
        match request {
            Request { prompt_tokens: 0, .. } => Err(SubmitError::EmptyPrompt),
            Request { output_tokens: 0, .. } => Err(SubmitError::NoOutput),
            _ if tokens > capacity => Err(SubmitError::TooLong { tokens, capacity }),
            _ => Ok(()),
        }
    }

    /// Ends the steps that end by `now_s` and begins the next ones. A step that could begin exactly now
    /// begins only if `begin_now`, so that more requests can still join it.
    fn settle(&mut self, now_s: f64, begin_now: bool) {
        loop {
            match self.step_ends_at_s {
                Some(end_s) if end_s <= now_s => {
                    self.step_ends_at_s = None;
                    self.ready_at_s = end_s;
                    self.finish_step(end_s);
                }
                Some(_) => return,
                None if self.is_idle() || self.ready_at_s > now_s => return,
                None if self.ready_at_s >= now_s && !begin_now => return,
                None => {
                    let duration_s = self.begin_step(self.ready_at_s);
                    self.stats.steps += 1;
                    self.stats.busy_s += duration_s;
                    self.step_ends_at_s = Some(self.ready_at_s + duration_s);
                }
            }
        }
    }

    /// Books what the step computed, emits tokens and lets finished requests go.
    fn finish_step(&mut self, at_s: f64) {
        let Self { running, cache, events, stats, .. } = self;
        running.retain_mut(|sequence| {
            sequence.computed += std::mem::take(&mut sequence.scheduled);
            if sequence.pending() > 0 {
                return true;
            }
            sequence.emitted += 1;
            stats.generation_tokens += 1;
            let id = sequence.request.id;
            let mut tell = |kind| events.push(Event { at_s, id, kind });
            if sequence.emitted == 1 {
                stats.prompt_tokens += sequence.request.prompt_tokens as u64;
                tell(EventKind::FirstToken);
            } else {
                tell(EventKind::Token);
            }
            if sequence.emitted < sequence.request.output_tokens {
                return true;
            }
            tell(EventKind::Finished(FinishReason::Length));
            stats.finished += 1;
            cache.release(&sequence.blocks);
            false
        });
    }
}
