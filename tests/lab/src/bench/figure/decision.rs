//! Time of a decision by the size of the pool and of the view: the core alone, built for this machine.
//!
//! Every view is asked alike: half of the prompts go on with a conversation that some endpoint holds, half begin a new
//! one after a system prompt that many hold. Views take turns. Parsing and hashing a prompt depend on neither size and
//! are left out.

use super::world::{Chance, POOL, fleet, routed};
use crate::bench::plan::Plan;
use anyhow::{Context, ensure};
use std::hint::black_box;
use std::time::Instant;
use warmpath_core::cost::Weights;
use warmpath_core::ids::CellHash;
use warmpath_core::limits::CELL_BYTES_DEFAULT;
use warmpath_core::prompt::Size;
use warmpath_core::routing::{Options, Query, choose};
use warmpath_core::time::Timestamp;
use warmpath_core::view::View;

/// Pools and views that are measured, as (endpoints, cells): the least, the two that are larger in one way, and the
/// one that is larger in both.
pub const SIZES: [(usize, usize); 5] =
    [(8, 10_000), (8, 1_000_000), (64, 100_000), (1_000, 10_000), (1_000, 1_000_000)];

/// System prompts, by the published shared-prefix workload.
const GROUPS: usize = 150;

/// Cells of a system prompt, 8 KB; in a small view there is not room for all groups.
const SYSTEM_CELLS: usize = 32;

/// Cells that a conversation adds.
const OWN_CELLS: usize = 32;

/// Cells of a view that are system prompts, at most: one in four.
const SYSTEM_SHARE: usize = 4;

/// Prompts that are asked about; each in turn, so that the processor's caches see as many as in a proxy.
const PROMPTS: usize = 4_096;

/// Alternates after the choice, as by default.
const ALTERNATES: usize = warmpath_core::limits::ALTERNATES_DEFAULT;

/// One size.
#[derive(Clone, Debug, PartialEq)]
pub struct DecisionCase {
    /// Endpoints of the pool.
    pub endpoints: usize,
    /// Distinct cells in the view.
    pub cells: usize,
    /// Microseconds of a decision, one value a repetition.
    pub us: Vec<f64>,
}

/// A view with prompts to ask it about.
struct World {
    view: View,
    prompts: Vec<Vec<CellHash>>,
    at: usize,
}

/// Measures all sizes.
pub fn measure(plan: &Plan, seed: u64) -> anyhow::Result<Vec<DecisionCase>> {
    let mut worlds = Vec::new();
    for (endpoints, cells) in SIZES {
        worlds.push(World::new(endpoints, cells, Chance(seed))?);
    }
    let mut cases: Vec<DecisionCase> = SIZES
        .into_iter()
        .map(|(endpoints, cells)| DecisionCase { endpoints, cells, us: Vec::new() })
        .collect();
    for repetition in 0..=plan.repetitions {
        for (world, case) in worlds.iter_mut().zip(&mut cases) {
            let us = world.decide(plan.decisions)?;
            // The first one warms up.
            if repetition > 0 {
                case.us.push(us);
            }
        }
    }
    Ok(cases)
}

// === impl World ===

impl World {
    fn new(endpoints: usize, cells: usize, mut chance: Chance) -> anyhow::Result<Self> {
        let mut view = View::default();
        for event in fleet(endpoints, &mut chance) {
            view.apply(&event, Timestamp::ZERO);
        }
        let groups = (cells / SYSTEM_SHARE / SYSTEM_CELLS).clamp(1, GROUPS);
        let systems: Vec<_> = (0..groups).map(|_| chance.chain(SYSTEM_CELLS)).collect();
        let mut held = Vec::new();
        // Twice as many as would fit: where a view forgets as fast as it learns, this ends too.
        for _ in 0..2 * cells / OWN_CELLS {
            if view.prefixes().cells() >= cells {
                break;
            }
            let system = systems.get(chance.below(groups)).context("no system prompt")?;
            let chain = [system.as_slice(), &chance.chain(OWN_CELLS)].concat();
            view.apply(&routed(chance.below(endpoints), &chain), Timestamp::ZERO);
            held.push(chain);
        }
        let found = view.prefixes().cells();
        ensure!(found >= cells, "a view of {endpoints} endpoints holds {found} cells, not {cells}");
        let prompts = (0..PROMPTS).map(|number| {
            let known = held.get(chance.below(held.len())).map_or(&[][..], Vec::as_slice);
            let known = if number % 2 == 0 { known } else { known.get(..SYSTEM_CELLS).unwrap_or(known) };
            [known, &chance.chain(OWN_CELLS)].concat()
        });
        Ok(Self { prompts: prompts.collect(), view, at: 0 })
    }

    /// Makes decisions, and returns the microseconds of one.
    fn decide(&mut self, decisions: usize) -> anyhow::Result<f64> {
        let query = |chain: &Vec<CellHash>| {
            let text_bytes = (chain.len() * CELL_BYTES_DEFAULT) as u64;
            let size = Size { text_bytes, ..Size::default() };
            let query = Query::of_chain(&self.view, POOL, chain.clone(), size, None, Timestamp::ZERO);
            query.ok().context("no pool")
        };
        let queries = self.prompts.iter().map(query).collect::<anyhow::Result<Vec<_>>>()?;
        let begun = Instant::now();
        for _ in 0..decisions {
            self.at += 1;
            let query = queries.get(self.at % queries.len()).context("no prompt")?;
            let (nonce, weights) = (self.at as u64, Weights::default());
            let options = Options { alternates: ALTERNATES, nonce, now: Timestamp::ZERO, weights };
            let decision = choose(black_box(query), black_box(&options));
            black_box(decision.ok().context("no endpoint was chosen")?);
        }
        Ok(begun.elapsed().as_secs_f64() * 1e6 / decisions as f64)
    }
}
