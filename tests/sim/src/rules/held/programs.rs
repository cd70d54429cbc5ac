//! Programs that are paused and resumed by their tokens, as ThunderAgent does it (arXiv 2602.13692; constants and order from its
//! repository's description of the scheduler).
//!
//! ```text
//!   request ─► program ─┬─ active ─► its engine
//!                       ├─ new, nobody waits, room ─► the engine with the fewest tokens
//!                       └─ paused, or no room ─► waits
//!   every 5 s ─► resume: those with a request, then new ones; largest first, to the engine with most room
//!             ─► an engine beyond its room: pause programs between requests, smallest first, then mark those within one
//! ```
//!
//! What programs share is known to it from the engine: here tokens of a prompt that it shares count as in the engine's cache, which is
//! what its estimate aims at. That a program has ended, it is given to know, as there.

use super::super::{Route, Rule};
use crate::fleet::Fleet;
use crate::workload::Job;
use fnv::FnvHashMap;
use std::collections::{BTreeMap, VecDeque};

/// Time between two looks, in seconds.
const INTERVAL_S: f64 = 5.0;
/// Tokens kept free for each active program.
const BUFFER_TOKENS: usize = 100;

/// See the module.
#[derive(Debug, Default)]
pub struct Programs {
    states: BTreeMap<u32, Program>,
    /// Requests under way: their program, whether it ends with them, and all their tokens.
    under_way: FnvHashMap<u64, (u32, bool, usize)>,
    /// Those that may go on.
    ready: VecDeque<(u64, usize)>,
    looked_s: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Program {
    tokens: usize,
    /// Where it is active.
    engine: Option<usize>,
    /// Whether a request is at its engine.
    is_reasoning: bool,
    /// It is paused once that has ended.
    is_marked: bool,
    /// The request that waits.
    waiting: Option<Waiting>,
    steps: usize,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    id: u64,
    is_last: bool,
    tokens: usize,
}

// === impl Programs ===

impl Programs {
    /// Tokens at an engine beyond its active programs.
    fn room(&self, engine: usize, fleet: &Fleet) -> isize {
        let active = self.states.values().filter(|program| program.engine == Some(engine));
        let used: usize =
            active.filter(|program| !program.is_marked).map(|program| program.tokens + BUFFER_TOKENS).sum();
        let all = fleet.among().nodes()[engine].engine.params().kv_tokens;
        isize::try_from(all).unwrap_or(isize::MAX) - isize::try_from(used).unwrap_or(isize::MAX)
    }

    /// The engine with most room.
    fn roomiest(&self, fleet: &Fleet) -> usize {
        fleet.among().least(0, |at, _| -self.room(at, fleet))
    }

    fn go(&mut self, program: u32, engine: usize) -> Option<(u64, usize)> {
        let state = self.states.get_mut(&program)?;
        state.engine = Some(engine);
        let Waiting { id, is_last, tokens } = state.waiting.take()?;
        state.is_reasoning = true;
        self.under_way.insert(id, (program, is_last, tokens));
        Some((id, engine))
    }

    fn look(&mut self, fleet: &Fleet) {
        // Those with a request first, of these the ones that have begun; then the largest.
        let paused = self.states.iter().filter(|(_, state)| state.engine.is_none());
        let mut paused: Vec<_> = paused
            .map(|(program, state)| {
                let rank = match (state.waiting, state.steps) {
                    (Some(_), 2..) => 0,
                    (Some(_), _) => 1,
                    (None, _) => 2,
                };
                (rank, state.tokens, *program)
            })
            .collect();
        paused.sort_unstable();
        let mut free: Vec<isize> = (0..fleet.len()).map(|engine| self.room(engine, fleet)).collect();
        let mut chosen = Vec::new();
        let mut total: isize = free.iter().filter(|room| **room > 0).sum();
        for (_, tokens, program) in paused {
            let needed = isize::try_from(tokens + BUFFER_TOKENS).unwrap_or(isize::MAX);
            if needed <= total {
                total -= needed;
                chosen.push((tokens, program));
            }
        }
        chosen.sort_unstable_by(|one, other| other.cmp(one));
        for (tokens, program) in chosen {
            let needed = isize::try_from(tokens + BUFFER_TOKENS).unwrap_or(isize::MAX);
            let Some(engine) = (0..free.len()).max_by_key(|at| free[*at]) else { break };
            if free[engine] >= needed {
                free[engine] -= needed;
                let ready = self.go(program, engine);
                self.ready.extend(ready);
            }
        }
        for engine in 0..fleet.len() {
            self.pause_until_safe(engine, fleet);
        }
    }

    fn pause_until_safe(&mut self, engine: usize, fleet: &Fleet) {
        while self.room(engine, fleet) < 0 {
            let active = self.states.values_mut();
            let active = active.filter(|state| state.engine == Some(engine) && !state.is_marked);
            let Some(smallest) = active.min_by_key(|state| (state.is_reasoning, state.tokens)) else {
                return;
            };
            if smallest.is_reasoning {
                smallest.is_marked = true;
            } else {
                smallest.engine = None;
            }
        }
    }
}

impl Rule for Programs {
    fn route(&mut self, _now_s: f64, id: u64, job: &Job, fleet: &Fleet) -> Route {
        let program = job.form.program.unwrap_or(u32::MAX - id as u32);
        let is_last = job.form.is_last || job.form.program.is_none();
        let is_line_empty = !self.states.values().any(|state| state.waiting.is_some());
        let state = self.states.entry(program).or_default();
        state.steps += 1;
        state.tokens = job.prompt_tokens;
        state.waiting = Some(Waiting { id, is_last, tokens: job.prompt_tokens + job.output_tokens });
        let (engine, is_new) = (state.engine, state.steps == 1);
        let engine = engine.or_else(|| {
            let roomiest = self.roomiest(fleet);
            let needed = isize::try_from(job.prompt_tokens + BUFFER_TOKENS).unwrap_or(isize::MAX);
            (is_new && is_line_empty && self.room(roomiest, fleet) >= needed).then_some(roomiest)
        });
        match engine.and_then(|engine| self.go(program, engine)) {
            Some((_, engine)) => Route::Whole(engine),
            None => Route::Held,
        }
    }

    fn released(&mut self, now_s: f64, fleet: &Fleet) -> Option<(u64, Route)> {
        if now_s >= self.looked_s + INTERVAL_S {
            self.looked_s = now_s;
            self.look(fleet);
        }
        self.ready.pop_front().map(|(id, engine)| (id, Route::Whole(engine)))
    }

    fn refused(&mut self, now_s: f64, id: u64) {
        self.ended(now_s, id);
    }

    fn ended(&mut self, _now_s: f64, id: u64) {
        let Some((program, is_last, tokens)) = self.under_way.remove(&id) else { return };
        if is_last {
            self.states.remove(&program);
            return;
        }
        let Some(state) = self.states.get_mut(&program) else { return };
        (state.tokens, state.is_reasoning) = (tokens, false);
        if std::mem::take(&mut state.is_marked) {
            state.engine = None;
        }
    }
}
