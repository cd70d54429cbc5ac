//! The choice: candidates, their cost, an order.
//!
//! Pools up to [`SCAN_ENDPOINTS_MAX`] are looked at whole. In larger ones the candidates are the holders of
//! the prompt's first cell with the longest runs, and a random sample for the load; the cost of a decision
//! then does not grow with the pool. Where none of them is fit, all are looked at. Ties are broken at random, by a nonce that the caller draws.

use crate::cost::{self, Averages, PrefillWork, Term, Terms, Work};
use crate::decision::{Candidate, Decision, NoEndpoint, Reason};
use crate::ids::{CellHash, Slot};
use crate::limits::{SAMPLE_ENDPOINTS, SCAN_ENDPOINTS_MAX};
use crate::num::{count, float, float_len, u64_len};
use crate::time::Timestamp;
use crate::view::{Fitness, Match, Pool, Turn, View};

/// Holders looked at in a large pool, by the length of their runs.
const HOLDERS_MAX: usize = 8;
/// Share of the prompt by which another may hold more before it is told as a choice against it: a cell or
/// two are chance.
const NOISE_SHARE: f64 = 0.1;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The pool that serves the model.
    pub pool: &'a Pool,
    /// The prompt's chain; empty when there is none.
    pub chain: &'a [CellHash],
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Most tokens that the answer may have, if stated.
    pub output_tokens_max: Option<u64>,
    /// Endpoints wanted after the chosen one.
    pub alternates: usize,
    /// Random bits.
    pub nonce: u64,
    /// Now, on the view's clock; for turns to mean the same in all proxies, the wall clock.
    pub now: Timestamp,
    /// A term that is left out of the cost, to see what it earns; none in the filter.
    pub without: Option<Term>,
}

/// Chooses an endpoint.
pub fn choose(view: &View, ask: &Ask<'_>) -> Result<Decision, NoEndpoint> {
    let slots = ask.pool.slots();
    if slots.is_empty() {
        return Err(NoEndpoint::NoneKnown);
    }
    let mut matches = Vec::new();
    view.prefixes().find(ask.chain, &mut matches);
    let drawn = if slots.len() > SCAN_ENDPOINTS_MAX { Some(draw(ask, &matches)) } else { None };
    let mut candidates = match &drawn {
        // A sample of our own is hardly another proxy's.
        Some(drawn) => weigh_all(view, ask, &matches, drawn, Turn::default()),
        None => weigh_all(view, ask, &matches, slots, view.turn()),
    };
    let is_fit =
        |candidates: &[Candidate]| candidates.first().is_some_and(|best| best.fitness == Fitness::Fit);
    if drawn.is_some() && !is_fit(&candidates) {
        // A sample without a fit endpoint does not mean that there is none.
        candidates = weigh_all(view, ask, &matches, slots, view.turn());
    }
    let considered = candidates.len();
    // An unhealthy endpoint is no alternate either: a retry there is a retry lost.
    candidates.retain(|candidate| candidate.fitness != Fitness::Unhealthy);
    let reason = reason(ask, &candidates).ok_or(NoEndpoint::NoneHealthy)?;
    candidates.truncate(ask.alternates.saturating_add(1));
    for candidate in &mut candidates {
        candidate.address = view.endpoint(candidate.slot).map(|e| e.address.clone()).unwrap_or_default();
    }
    Ok(Decision { ranked: candidates, reason, considered, chain_cells: ask.chain.len() })
}

/// The candidates of a large pool: those that hold most of the prompt, and a sample.
fn draw(ask: &Ask<'_>, matches: &[Match]) -> Vec<Slot> {
    let slots = ask.pool.slots();
    // Among those that hold the same (often all hold the system prompt), not always the first ones: by chance. The best
    // so far in order, so that one look at each is enough where hundreds hold the beginning.
    let mut holders: Vec<(u128, Slot)> = Vec::with_capacity(HOLDERS_MAX + 1);
    // An endpoint that changed its pool still holds the old one's prefixes.
    for found in matches.iter().filter(|found| ask.pool.has(found.slot)) {
        // The longest first, then by chance: one number compares faster than two.
        let chance = next_random(ask.nonce ^ u64::from(found.slot.0));
        let rank = u128::from(u32::MAX - found.cells) << 64 | u128::from(chance);
        if holders.len() < HOLDERS_MAX || holders.last().is_some_and(|(worst, _)| rank < *worst) {
            holders.truncate(HOLDERS_MAX - 1);
            holders.insert(holders.partition_point(|(better, _)| *better < rank), (rank, found.slot));
        }
    }
    let mut drawn: Vec<Slot> = Vec::with_capacity(HOLDERS_MAX + SAMPLE_ENDPOINTS);
    drawn.extend(holders.iter().map(|(_, slot)| *slot));
    let mut state = ask.nonce;
    for _ in 0..SAMPLE_ENDPOINTS {
        state = next_random(state);
        let at = usize::try_from(state % u64_len(slots.len())).unwrap_or(0);
        if let Some(slot) = slots.get(at).filter(|slot| !drawn.contains(slot)) {
            drawn.push(*slot);
        }
    }
    drawn
}

/// What is the same for all candidates of a decision.
struct Around<'a> {
    matches: &'a [Match],
    averages: &'a Averages,
    turn: Turn,
    endpoints: usize,
    /// Share of the prompt that nobody holds.
    new_share: f64,
}

/// The candidates with their costs, best first. Addresses are left out: few of them will be needed.
fn weigh_all(view: &View, ask: &Ask<'_>, matches: &[Match], slots: &[Slot], turn: Turn) -> Vec<Candidate> {
    let averages = Averages::of(slots.iter().filter_map(|slot| view.endpoint(*slot)), ask.now);
    let longest = matches.iter().map(|found| found.cells).max().unwrap_or(0);
    let new_share = 1.0 - float(u64::from(longest)) / float_len(ask.chain.len().max(1));
    let around = Around { matches, averages: &averages, turn, endpoints: slots.len(), new_share };
    let weighed = slots.iter().enumerate().filter_map(|(at, slot)| weigh(view, ask, &around, at, *slot));
    // Not collected: a filter does not know its length, and the list would be moved as it grows.
    let mut candidates = Vec::with_capacity(slots.len());
    candidates.extend(weighed);
    order(&mut candidates, ask.nonce);
    candidates
}

fn weigh(view: &View, ask: &Ask<'_>, around: &Around<'_>, position: usize, slot: Slot) -> Option<Candidate> {
    let endpoint = view.endpoint(slot)?;
    let matches = around.matches;
    let found = matches.binary_search_by_key(&slot, |found| found.slot).ok().and_then(|at| matches.get(at));
    let cells = found.map_or(0, |found| found.cells);
    let cached_tokens = cached_tokens(view, ask, cells);
    let prefill_s_per_token = around.averages.prefill_s_per_token(endpoint);
    let is_our_turn = around.turn.has(position, around.endpoints, ask.now);
    let work = Work {
        prompt_tokens: ask.prompt_tokens,
        cached_tokens,
        // Clients set bounds far above what they expect.
        output_tokens: ask.output_tokens_max.unwrap_or(u64::MAX).min(count(ask.pool.output_tokens())),
        evicted_tokens: evicted_tokens(view, ask, slot, cells),
        rival_share: if is_our_turn { 0.0 } else { around.new_share },
    };
    Some(Candidate {
        slot,
        id: endpoint.id,
        address: String::new(),
        fitness: endpoint.fitness(ask.now),
        cells,
        cached_tokens,
        work: PrefillWork::of(ask.prompt_tokens, cached_tokens),
        requests: endpoint.requests(),
        backlog: PrefillWork(count(endpoint.backlog_tokens(prefill_s_per_token, ask.now))),
        is_held_up: endpoint.is_held_up(ask.now),
        terms: cost::of(endpoint, around.averages, &work, ask.now).without(ask.without),
    })
}

/// Work to be done again for what an endpoint that holds `cells` of the prompt evicts for the rest, in tokens'
/// worth, by the chance that it is asked for.
fn evicted_tokens(view: &View, ask: &Ask<'_>, slot: Slot, cells: u32) -> f64 {
    let new_cells = ask.chain.len().saturating_sub(crate::num::index(cells));
    let cell_tokens = float_len(view.cell_bytes()) / ask.pool.bytes_per_token();
    let work_of = |depth: u32| PrefillWork::of_token(f64::from(depth) * cell_tokens);
    view.prefixes().loss(slot, new_cells, ask.now, work_of) * cell_tokens * ask.pool.reuse_share()
}

/// Tokens that a run of cells stands for: its share of the prompt. The last token is always computed, as
/// engines need one to start from.
fn cached_tokens(view: &View, ask: &Ask<'_>, cells: u32) -> u64 {
    let bytes = u64::from(cells) * u64_len(view.cell_bytes());
    ask.pool.tokens(bytes).min(ask.prompt_tokens.saturating_sub(1))
}

/// Best first: the fit before the others, then by cost; equal ones at random. What differs by less than a
/// microsecond is equal.
fn order(candidates: &mut [Candidate], nonce: u64) {
    let micros = |terms: &Terms| crate::num::count(terms.total_s() * 1e6);
    candidates.sort_by_cached_key(|candidate| {
        let chance = next_random(nonce ^ candidate.id.0);
        // Without a prompt the cost sees no difference between idle and nearly idle: requests decide.
        (candidate.fitness, micros(&candidate.terms), candidate.requests, chance)
    });
}

/// Why the first candidate is the first. `None`: there is none. Only holders that are as fit count as
/// others: that a request goes past one that fails is no choice.
fn reason(ask: &Ask<'_>, candidates: &[Candidate]) -> Option<Reason> {
    let chosen = candidates.first()?;
    if ask.chain.is_empty() {
        return Some(Reason::Load);
    }
    let others = candidates.iter().filter(|other| other.fitness == chosen.fitness);
    let longest = others.map(|other| other.cells).max().unwrap_or(0);
    let noise = NOISE_SHARE * float_len(ask.chain.len());
    Some(if longest == 0 {
        Reason::Cold
    } else if chosen.cells == longest
        || (chosen.cells > 0 && float(u64::from(longest - chosen.cells)) <= noise)
    {
        Reason::Warm
    } else {
        Reason::Spill
    })
}

/// SplitMix64 (Steele, Lea, Flood 2014): one step spreads any seed over all 64 bits.
fn next_random(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
