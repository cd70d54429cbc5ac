//! An engine that takes a day's requests: continuous batches with chunked prefills, in steps as long as the calibrated model has them.
//!
//! Steps that only decode are taken together, up to the next end or arrival: their times add up to a square in their number. The cache
//! counts tokens by conversation and evicts the one that was used longest ago; requests that run count in full.

use super::setting::Model;
use super::world::nanos;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use warmpath_engine::model::{StepLoad, StepTime};

/// A request at an engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) number: usize,
    pub(super) conversation: usize,
    pub(super) prompt_tokens: f64,
    pub(super) output_tokens: f64,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    First { number: usize, at_s: f64 },
    End { number: usize, at_s: f64 },
}

/// A request whose prompt is not computed yet.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    request: Request,
    cached_tokens: f64,
    /// Tokens that are still to be computed.
    left: f64,
}

/// An engine.
#[derive(Debug)]
pub(super) struct Engine {
    step_time: StepTime,
    batched_tokens_max: f64,
    kv_tokens: f64,
    now_s: f64,
    waiting: VecDeque<Waiting>,
    /// Their tokens that are still to be computed.
    waiting_tokens: f64,
    /// Requests in the batch, by the step after which they end.
    running: BinaryHeap<Reverse<(u64, usize)>>,
    requests: BTreeMap<usize, Request>,
    steps: u64,
    /// Tokens of the contexts in the batch.
    context_tokens: f64,
    /// Tokens that those in the batch, and those that wait in it, may come to.
    promised_tokens: f64,
    /// Tokens of conversations, and when they were used.
    cache: BTreeMap<usize, (f64, u64)>,
    /// The same by time, in nanoseconds.
    by_use: BTreeSet<(u64, usize)>,
    cached_tokens: f64,
}

// === impl Engine ===

impl Engine {
    pub(super) fn new(model: &Model, now_s: f64) -> Self {
        Self {
            step_time: model.step_time.clone(),
            batched_tokens_max: model.batched_tokens_max as f64,
            kv_tokens: model.kv_tokens,
            now_s,
            waiting: VecDeque::new(),
            waiting_tokens: 0.0,
            running: BinaryHeap::new(),
            requests: BTreeMap::new(),
            steps: 0,
            context_tokens: 0.0,
            promised_tokens: 0.0,
            cache: BTreeMap::new(),
            by_use: BTreeSet::new(),
            cached_tokens: 0.0,
        }
    }

    /// Requests that wait for their first token.
    pub(super) fn queue(&self) -> usize {
        self.waiting.len()
    }

    /// All requests.
    pub(super) fn in_flight(&self) -> usize {
        self.waiting.len() + self.running.len()
    }

    /// Prompt tokens that are still to be computed.
    pub(super) fn waiting_tokens(&self) -> f64 {
        self.waiting_tokens
    }

    /// Share of the KV cache that requests use.
    pub(super) fn kv_used(&self) -> f64 {
        (self.context_tokens / self.kv_tokens).min(1.0)
    }

    /// Tokens of prefixes that were used since.
    pub(super) fn warm_tokens(&self, since_s: f64) -> f64 {
        let recent = self.by_use.range((nanos(since_s), 0)..).filter_map(|(_, one)| self.cache.get(one));
        recent.map(|(tokens, _)| tokens).sum()
    }

    /// Tokens of a conversation's prompt that it holds.
    pub(super) fn cached(&self, conversation: usize, prompt_tokens: f64) -> f64 {
        self.cache.get(&conversation).map_or(0.0, |(tokens, _)| tokens.min(prompt_tokens - 1.0))
    }

    pub(super) fn submit(&mut self, request: Request, now_s: f64) {
        self.now_s = self.now_s.max(now_s);
        let cached_tokens = self.cached(request.conversation, request.prompt_tokens);
        let left = request.prompt_tokens - cached_tokens;
        self.waiting_tokens += left;
        self.waiting.push_back(Waiting { request, cached_tokens, left });
    }

    /// Takes all steps that begin before `until_s`.
    pub(super) fn advance(&mut self, until_s: f64, events: &mut Vec<Event>) {
        while self.now_s < until_s {
            let has_room = self.waiting.front().is_some_and(|head| self.has_room(head));
            if has_room {
                self.prefill_step(events);
            } else if self.running.is_empty() {
                self.now_s = until_s;
            } else {
                self.decode_steps(until_s);
            }
            self.end_finished(events);
        }
    }

    fn has_room(&self, head: &Waiting) -> bool {
        let is_begun = head.left < head.request.prompt_tokens - head.cached_tokens;
        let tokens = head.request.prompt_tokens + head.request.output_tokens;
        is_begun || self.promised_tokens + tokens <= self.kv_tokens || self.running.is_empty()
    }

    /// One step with as much prefill as fits.
    fn prefill_step(&mut self, events: &mut Vec<Event>) {
        let decodes = self.running.len();
        let mut room = (self.batched_tokens_max - decodes as f64).max(1.0);
        let mut load =
            StepLoad { decodes, context_tokens: self.context_tokens as usize, ..StepLoad::default() };
        let mut firsts = Vec::new();
        while room >= 1.0 {
            let Some(head) = self.waiting.front().copied().filter(|head| self.has_room(head)) else { break };
            let chunk = head.left.min(room);
            load.add_prefill(chunk as usize, (head.request.prompt_tokens - head.left) as usize);
            if head.left >= head.request.prompt_tokens - head.cached_tokens {
                self.promised_tokens += head.request.prompt_tokens + head.request.output_tokens;
            }
            room -= chunk;
            self.waiting_tokens -= chunk;
            if chunk < head.left {
                if let Some(head) = self.waiting.front_mut() {
                    head.left -= chunk;
                }
            } else {
                self.waiting.pop_front();
                firsts.push(head.request);
            }
        }
        self.now_s += self.step_time.seconds(&load);
        self.steps += 1;
        self.context_tokens += decodes as f64;
        for request in firsts {
            events.push(Event::First { number: request.number, at_s: self.now_s });
            self.context_tokens += request.prompt_tokens + 1.0;
            self.running.push(Reverse((self.steps + request.output_tokens as u64 - 1, request.number)));
            self.requests.insert(request.number, request);
        }
    }

    /// Steps without prefill: up to the first end, or to `until_s`.
    fn decode_steps(&mut self, until_s: f64) {
        let Some(Reverse((end, _))) = self.running.peek().copied() else { return };
        let most = end.saturating_sub(self.steps).max(1);
        let decodes = self.running.len();
        let at = |step: f64| {
            let context_tokens = (self.context_tokens + decodes as f64 * step) as usize;
            self.step_time.seconds(&StepLoad { decodes, context_tokens, ..StepLoad::default() })
        };
        let first_s = at(0.0);
        let more_s = (at(1_000.0) - first_s) / 1_000.0;
        let taken = |steps: f64| first_s * steps + more_s * steps * (steps - 1.0).max(0.0) / 2.0;
        let left_s = until_s - self.now_s;
        // The least number of steps that reaches `until_s`, by the root of the square.
        let linear = first_s - more_s / 2.0;
        let root = if more_s > 0.0 {
            ((linear * linear + 2.0 * more_s * left_s).sqrt() - linear) / more_s
        } else {
            left_s / first_s
        };
        let steps = (root.ceil().max(1.0) as u64).min(most);
        self.now_s += taken(steps as f64);
        self.steps += steps;
        self.context_tokens += (decodes as u64 * steps) as f64;
    }

    fn end_finished(&mut self, events: &mut Vec<Event>) {
        while let Some(Reverse((end, number))) = self.running.peek().copied() {
            if end > self.steps {
                return;
            }
            self.running.pop();
            events.push(Event::End { number, at_s: self.now_s });
            if let Some(request) = self.requests.remove(&number) {
                let tokens = request.prompt_tokens + request.output_tokens;
                self.context_tokens = (self.context_tokens - tokens).max(0.0);
                self.promised_tokens = (self.promised_tokens - tokens).max(0.0);
                self.keep(request.conversation, tokens);
            }
        }
        if self.running.is_empty() {
            self.context_tokens = 0.0;
        }
    }

    /// Keeps a conversation's tokens, and evicts those used longest ago beyond what there is room for.
    fn keep(&mut self, conversation: usize, tokens: f64) {
        let used = nanos(self.now_s);
        if let Some((before, at)) = self.cache.insert(conversation, (tokens, used)) {
            self.cached_tokens -= before;
            self.by_use.remove(&(at, conversation));
        }
        self.by_use.insert((used, conversation));
        self.cached_tokens += tokens;
        while self.cached_tokens > (self.kv_tokens - self.promised_tokens).max(0.0) {
            let Some((_, oldest)) = self.by_use.pop_first() else { return };
            self.cached_tokens -= self.cache.remove(&oldest).map_or(0.0, |(tokens, _)| tokens);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::setting::Model;
    use super::{Engine, Event, Request};

    fn played(requests: &[(f64, f64, f64)], slice_s: f64) -> Vec<Event> {
        let model = &Model::both()[1];
        let mut engine = Engine::new(model, 0.0);
        let mut events = Vec::new();
        let mut now_s = 0.0;
        for (number, (at_s, prompt_tokens, output_tokens)) in requests.iter().enumerate() {
            while now_s < *at_s {
                now_s = (now_s + slice_s).min(*at_s);
                engine.advance(now_s, &mut events);
            }
            let (prompt_tokens, output_tokens) = (*prompt_tokens, *output_tokens);
            engine.submit(Request { number, conversation: number, prompt_tokens, output_tokens }, now_s);
        }
        engine.advance(1e6, &mut events);
        events
    }

    fn ends(events: &[Event]) -> Vec<f64> {
        let end = |event: &Event| if let Event::End { at_s, .. } = event { Some(*at_s) } else { None };
        events.iter().filter_map(end).collect()
    }

    #[test]
    fn times_are_those_of_the_calibrated_steps_however_they_are_taken_together() {
        // 8,192 tokens take 0.48 s, and 100 steps with their context 11.6 ms each.
        let one = ends(&played(&[(0.0, 8_192.0, 101.0)], 1e6));
        assert!((one[0] - 1.64).abs() < 0.08, "{one:?}");
        let requests = [(0.0, 4_000.0, 300.0), (1.0, 9_000.0, 50.0), (1.5, 100.0, 400.0)];
        let (whole, sliced) = (ends(&played(&requests, 1e6)), ends(&played(&requests, 0.01)));
        assert_eq!(whole.len(), 3);
        let near = whole.iter().zip(&sliced).all(|(one, other)| (one - other).abs() < 0.05);
        assert!(near, "{whole:?} {sliced:?}");
    }

    #[test]
    fn what_is_cached_is_not_computed_again() {
        let model = &Model::both()[1];
        let mut engine = Engine::new(model, 0.0);
        let mut events = Vec::new();
        let request =
            |number, prompt_tokens| Request { number, conversation: 7, prompt_tokens, output_tokens: 10.0 };
        engine.submit(request(0, 20_000.0), 0.0);
        engine.advance(100.0, &mut events);
        assert!((engine.cached(7, 30_000.0) - 20_010.0).abs() < 1e-9);
        engine.submit(request(1, 20_500.0), 100.0);
        engine.advance(200.0, &mut events);
        let first = events.iter().find_map(|event| match event {
            Event::First { number: 1, at_s } => Some(at_s - 100.0),
            _ => None,
        });
        assert!(first.is_some_and(|ttft_s| ttft_s < 0.06), "{first:?}");
    }
}
