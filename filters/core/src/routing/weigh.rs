//! The work of a request at each examined endpoint.

use super::sample::next_random;
use super::{Candidate, Options, Query};
use crate::cost::{Averages, CostInput, Loaded, Terms, Work};
use crate::ids::{AdapterId, Slot};
use crate::num::{count, float, float_len, index};
use crate::time::Timestamp;
use crate::view::{Endpoint, Fitness, Leg, Match, Turn};
use crate::wire::{Tier, Trust};
use crate::work::PrefillWork;

/// One endpoint and the work of the request there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weighed<'a> {
    endpoint: &'a Endpoint,
    pub(super) fitness: Fitness,
    /// Whether the request has places, and this is none of them.
    pub(super) is_elsewhere: bool,
    pub(super) cells: u32,
    held_tokens: u64,
    cached_tokens: u64,
    requests: u32,
    loaded_tokens: u64,
    trust: Trust,
    adapter: AdapterId,
    /// Prefill work that the request would bring.
    work: PrefillWork,
    prefill_s_per_token: f64,
    terms: Terms,
    cost_s: f64,
    /// The same in whole microseconds: what differs by less is equal.
    cost_us: u64,
    /// Decides between equals.
    chance: u64,
}

/// The values that are equal for all endpoints of a decision.
struct Around<'a> {
    query: &'a Query<'a>,
    options: &'a Options,
    leg: Leg,
    matches: &'a [Match],
    averages: &'a Averages,
    turn: Turn,
    endpoints: usize,
    /// Cells from the first that every endpoint can load from a store that they share.
    shared_cells: u32,
    /// Share of the prompt that no endpoint holds.
    new_share: f64,
}

// === impl Weighed ===

impl Weighed<'_> {
    /// What it is ordered by, the best first: the fit before the others, then those with a place, then by cost; equal ones at random.
    pub(super) fn rank(&self) -> (Fitness, bool, u64, u32, u64) {
        // Without a prompt the cost sees no difference between idle and nearly idle: requests decide.
        (self.fitness, self.is_elsewhere, self.cost_us, self.requests, self.chance)
    }

    pub(super) fn candidate(&self, now: Timestamp) -> Candidate {
        let (endpoint, work) = (self.endpoint, self.work);
        let backlog = PrefillWork(count(endpoint.backlog_tokens(self.prefill_s_per_token, now)));
        Candidate {
            id: endpoint.id,
            address: endpoint.address.clone(),
            fitness: self.fitness,
            cells: self.cells,
            held_tokens: self.held_tokens,
            cached_tokens: self.cached_tokens,
            loaded_tokens: self.loaded_tokens,
            trust: self.trust,
            requests: self.requests,
            work,
            work_ahead: (!endpoint.is_held_up(now)).then(|| backlog.plus(work)),
            prefill_s_per_token: self.prefill_s_per_token,
            adapter: self.adapter,
            terms: self.terms,
            cost_s: self.cost_s,
        }
    }
}

/// Weighs the endpoints in `slots` for a leg, in their order.
pub(super) fn weigh_all<'a>(
    query: &Query<'a>,
    options: &Options,
    (leg, matches): (Leg, &[Match]),
    slots: &[Slot],
    turn: Turn,
) -> Vec<Weighed<'a>> {
    let view = query.view();
    let averages = Averages::of(slots.iter().filter_map(|slot| view.endpoint(*slot)), options.now);
    let longest = matches.iter().map(|found| found.cells).max().unwrap_or(0);
    let new_share = 1.0 - float(u64::from(longest)) / float_len(query.chain.len().max(1));
    let shared_cells = shared_cells(matches);
    let endpoints = slots.len();
    let around = Around {
        query,
        options,
        leg,
        matches,
        averages: &averages,
        turn,
        endpoints,
        shared_cells,
        new_share,
    };
    let each = slots
        .iter()
        .enumerate()
        .filter_map(|(position, slot)| Some(weigh(&around, view.endpoint(*slot)?, position, *slot)));
    // Not collected: a filter does not know its length, and the list would be moved as it grows.
    let mut weighed = Vec::with_capacity(slots.len());
    weighed.extend(each);
    weighed
}

fn weigh<'a>(around: &Around<'_>, endpoint: &'a Endpoint, position: usize, slot: Slot) -> Weighed<'a> {
    let Around { query, options, leg, matches, .. } = around;
    let found = matches.binary_search_by_key(&slot, |found| found.slot).ok().and_then(|at| matches.get(at));
    let own = found.copied().unwrap_or_else(|| Match::on_gpu(slot, 0));
    let held = own.with_shared(around.shared_cells);
    let held_tokens = query.tokens_in(held.cells);
    let cached_tokens = endpoint.believed_tokens(held_tokens);
    let loaded = loaded(query, &held, cached_tokens);
    let is_our_turn = around.turn.has(position, around.endpoints, options.now);
    let input = CostInput::new(endpoint, around.averages, options.now);
    let output_tokens = if *leg == Leg::Prefill { 1 } else { query.output_tokens() };
    let work = Work {
        prompt_tokens: query.prompt_tokens,
        // What is transferred need not be computed.
        cached_tokens: if *leg == Leg::Decode { query.prompt_tokens } else { cached_tokens },
        loaded,
        adapter: query.adapter,
        coming: query
            .view()
            .adapters_coming(slot, query.adapter, |one| input.is_in_batch(one, output_tokens)),
        output_tokens,
        evicted_tokens: evicted_tokens(query, slot, own.cells, options.now),
        is_either: [Leg::Prefill, Leg::Decode].iter().all(|leg| query.pool().takes(*leg, slot)),
        contention_share: if is_our_turn || *leg == Leg::Decode { 0.0 } else { around.new_share },
    };
    let terms = input.terms(&work);
    let cost_s = options.weights.total_s(&terms);
    Weighed {
        endpoint,
        fitness: endpoint.fitness(options.now),
        is_elsewhere: *leg == Leg::Whole && !query.places.is_empty() && !query.places.contains(&slot),
        cells: held.cells,
        held_tokens,
        cached_tokens,
        loaded_tokens: loaded.tokens(),
        trust: query.view().reported().trust(slot),
        adapter: query.adapter,
        requests: endpoint.requests(),
        work: PrefillWork::of(work.prompt_tokens, work.cached_tokens),
        prefill_s_per_token: input.prefill_s_per_token(),
        terms,
        cost_s,
        cost_us: count(cost_s * 1e6),
        chance: next_random(options.nonce ^ endpoint.id.0),
    }
}

/// Cells from the first that some endpoint can load from a shared store: nobody's advantage, for all others can, too.
fn shared_cells(matches: &[Match]) -> u32 {
    let shared = matches.iter().filter(|found| found.cells_in(Tier::Remote) > 0);
    shared.map(|found| found.cells).max().unwrap_or(0)
}

/// Tokens of what an endpoint holds that have to be loaded; `believed` of them are really there.
fn loaded(query: &Query<'_>, held: &Match, believed: u64) -> Loaded {
    let gpu_cells = held.cells_in(Tier::Gpu);
    if gpu_cells == held.cells {
        return Loaded::default();
    }
    let mut cells = gpu_cells;
    let mut tokens = query.tokens_in(cells).min(believed);
    let mut of = |tier| {
        cells += held.cells_in(tier);
        let end = query.tokens_in(cells).min(believed);
        end.saturating_sub(std::mem::replace(&mut tokens, end))
    };
    Loaded { cpu_tokens: of(Tier::Cpu), disk_tokens: of(Tier::Disk), remote_tokens: of(Tier::Remote) }
}

/// Work to be done again for what an endpoint that holds `cells` of the prompt evicts for the rest, in tokens'
/// worth, by the probability that it is requested again.
fn evicted_tokens(query: &Query<'_>, slot: Slot, cells: u32, now: Timestamp) -> f64 {
    let view = query.view();
    let new_cells = query.chain.len().saturating_sub(index(cells));
    let cell_tokens = float_len(view.cell_bytes()) / query.pool().bytes_per_token();
    let work_of = |depth: u32| PrefillWork::of_token(f64::from(depth) * cell_tokens);
    view.prefixes().loss(slot, new_cells, now, work_of) * cell_tokens * query.pool().reuse_share()
}
