//! The choice: candidates, their cost, an order.
//!
//! Pools up to [`SCAN_ENDPOINTS_MAX`] are looked at whole. In larger ones the candidates are the holders of
//! the prompt's first cell with the longest runs, and a random sample for the load; the cost of a decision
//! then does not grow with the pool. Ties are broken at random, by a nonce that the caller draws.

use crate::cost::{self, Terms, Work};
use crate::decision::{Candidate, Decision, NoEndpoint, Reason};
use crate::ids::{CellHash, Slot};
use crate::limits::{SAMPLE_ENDPOINTS, SCAN_ENDPOINTS_MAX};
use crate::num::{float, float_len, u64_len};
use crate::view::{Fitness, Match, Pool, View};

/// Answer length assumed of a request that names no bound, in tokens; also the most that is believed of a
/// bound, which clients set far above what they expect.
const OUTPUT_TOKENS_EXPECTED: u64 = 256;
/// Holders looked at in a large pool, by the length of their runs.
const HOLDERS_MAX: usize = 32;

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
    /// Now, on the view's clock.
    pub now_ms: u64,
}

/// Chooses an endpoint.
pub fn choose(view: &View, ask: &Ask<'_>) -> Result<Decision, NoEndpoint> {
    if ask.pool.slots().is_empty() {
        return Err(NoEndpoint::NoneKnown);
    }
    let mut matches = Vec::new();
    view.prefixes().find(ask.chain, &mut matches);
    let mut candidates: Vec<Candidate> = candidate_slots(ask, &mut matches)
        .into_iter()
        .filter_map(|slot| weigh(view, ask, &matches, slot))
        .collect();
    order(&mut candidates, ask.nonce);
    let considered = candidates.len();
    if candidates.first().is_none_or(|best| best.fitness == Fitness::Unhealthy) {
        return Err(NoEndpoint::NoneHealthy);
    }
    // An unhealthy endpoint is no alternate either: a retry there is a retry lost.
    candidates.retain(|candidate| candidate.fitness != Fitness::Unhealthy);
    candidates.truncate(1 + ask.alternates);
    let reason = reason(ask, &candidates, &matches);
    Ok(Decision { ranked: candidates, reason, considered, chain_cells: ask.chain.len() })
}

fn candidate_slots(ask: &Ask<'_>, matches: &mut [Match]) -> Vec<Slot> {
    let slots = ask.pool.slots();
    if slots.len() <= SCAN_ENDPOINTS_MAX {
        return slots.to_vec();
    }
    matches.sort_unstable_by_key(|found| std::cmp::Reverse(found.cells));
    let mut chosen: Vec<Slot> = matches.iter().take(HOLDERS_MAX).map(|found| found.slot).collect();
    let mut state = ask.nonce;
    for _ in 0..SAMPLE_ENDPOINTS {
        state = next_random(state);
        let at = usize::try_from(state % u64_len(slots.len())).unwrap_or(0);
        if let Some(slot) = slots.get(at).filter(|slot| !chosen.contains(slot)) {
            chosen.push(*slot);
        }
    }
    chosen
}

fn weigh(view: &View, ask: &Ask<'_>, matches: &[Match], slot: Slot) -> Option<Candidate> {
    let endpoint = view.endpoint(slot)?;
    let cells = matches.iter().find(|found| found.slot == slot).map_or(0, |found| found.cells);
    let cached_tokens = cached_tokens(view, ask, cells);
    let (held, capacity) = view.prefixes().held(slot);
    let free_bytes = u64_len(capacity.saturating_sub(held)) * u64_len(view.cell_bytes());
    let work = Work {
        prompt_tokens: ask.prompt_tokens,
        cached_tokens,
        output_tokens: ask.output_tokens_max.unwrap_or(OUTPUT_TOKENS_EXPECTED).min(OUTPUT_TOKENS_EXPECTED),
        free_tokens: ask.pool.tokens(free_bytes),
        reuse_share: ask.pool.reuse_share(),
    };
    let terms = cost::of(endpoint, &work);
    Some(Candidate {
        slot,
        id: endpoint.id,
        address: endpoint.address.clone(),
        fitness: endpoint.fitness(ask.now_ms),
        cells,
        cached_tokens,
        work_tokens: cost::work_tokens(ask.prompt_tokens, cached_tokens),
        requests: endpoint.requests(),
        terms,
    })
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

fn reason(ask: &Ask<'_>, candidates: &[Candidate], matches: &[Match]) -> Reason {
    if ask.chain.is_empty() {
        return Reason::Load;
    }
    let chosen = candidates.first().map_or(0, |best| best.cells);
    let longest = matches.iter().filter(|found| ask.pool.slots().contains(&found.slot)).map(|found| found.cells).max();
    match longest {
        None | Some(0) => Reason::Cold,
        Some(longest) if chosen >= longest => Reason::Warm,
        // A cell or two more elsewhere is noise; a tenth of the prompt is a decision.
        Some(longest) if float(u64::from(longest - chosen)) <= 0.1 * float_len(ask.chain.len()) && chosen > 0 => {
            Reason::Warm
        }
        Some(_) => Reason::Spill,
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): one step spreads any seed over all 64 bits.
fn next_random(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
