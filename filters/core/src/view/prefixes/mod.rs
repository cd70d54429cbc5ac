//! Who holds which prefix: a radix tree of chains, compressed into runs of cells.
//!
//! A cell hash names a whole prefix, so a run is found by the hash of its first cell alone and two chains
//! are compared without their text. A conversation's turn adds one run, whatever its length: the tree costs
//! little more than eight bytes a cell, and a lookup one probe a turn and a search in each run. The obvious
//! map from every cell to its holders costs three times the memory and one probe a cell.
//!
//! Each endpoint's holdings are bounded by what its own KV tiers hold and evicted as engines do, cell by cell:
//! least recently used first, and of cells used together the tail first. Hence what the rest relies on:
//! an endpoint that holds a run holds all before it, and a run is as long as its longest holding.

mod age;
mod loss;
mod recency;
mod runs;

pub use runs::Holder;

use crate::ids::{CellHash, Slot};
use crate::limits::CELLS_PER_PROMPT_MAX;
use crate::num::u32_len;
use crate::time::Timestamp;
use age::{Gaps, Moment};
use recency::Holding;
use runs::{NO_RUN, RunId, Runs, common, length16};

/// The tree, with the holdings of every endpoint.
#[derive(Clone, Debug, Default)]
pub struct Prefixes {
    runs: Runs,
    holdings: Vec<Holding>,
    path: Vec<Step>,
    gaps: Gaps,
}

/// How far one endpoint's holdings follow a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// The endpoint.
    pub slot: Slot,
    /// Cells from the first that it holds without a gap.
    pub cells: u32,
}

/// One run met in a depth-first walk; see [`Prefixes::walk`].
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    /// Cells before this run in its chain.
    pub depth: usize,
    /// The run's cells.
    pub cells: &'a [u64],
    /// Its holders, by slot.
    pub holders: &'a [Holder],
}

/// One run on the path of the chain being learned, and how much of it the chain covers.
#[derive(Clone, Copy, Debug)]
struct Step {
    run: RunId,
    covered: u16,
}

// === impl Prefixes ===

impl Prefixes {
    /// Sets how many cells an endpoint can hold, evicting what no longer fits. It is zero until set.
    pub fn set_capacity(&mut self, slot: Slot, cells: usize) {
        self.holding(slot).capacity = cells;
        self.evict(slot);
    }

    /// Records that `slot` holds the chain, up to [`CELLS_PER_PROMPT_MAX`], as its most recently used.
    pub fn learn(&mut self, slot: Slot, chain: &[CellHash], now: Timestamp) {
        let now = Moment::of(now.ms());
        let chain = chain.get(..CELLS_PER_PROMPT_MAX).unwrap_or(chain);
        let mut path = std::mem::take(&mut self.path);
        path.clear();
        self.descend(slot, chain, &mut path);
        // Tail first: of cells used together, the engine frees the last ones first.
        for step in path.iter().rev() {
            self.hold(slot, *step, now);
        }
        self.path = path;
        self.evict(slot);
    }

    /// How far each endpoint follows `chain`: one entry for each endpoint that holds its first cell, by
    /// slot. `found` is cleared first.
    pub fn find(&self, chain: &[CellHash], found: &mut Vec<Match>) {
        found.clear();
        let mut at = 0;
        let mut parent = NO_RUN;
        while let Some((id, run)) = chain.get(at).and_then(|head| self.runs.below(parent, *head)) {
            let same = common(run.cells(), chain.get(at..).unwrap_or_default());
            let depth = u32_len(at);
            let covered = u32_len(same);
            let cells = |holder: &Holder| u32::from(holder.held).min(covered);
            let mut is_held_on = at == 0;
            if at == 0 {
                found.extend(
                    run.holders().iter().map(|holder| Match { slot: holder.slot, cells: cells(holder) }),
                );
            } else {
                for holder in run.holders() {
                    if let Some(entry) = of_slot(found, holder.slot).filter(|entry| entry.cells == depth) {
                        entry.cells += cells(holder);
                        is_held_on = true;
                    }
                }
            }
            if same < run.cells().len() || !is_held_on {
                break;
            }
            at += same;
            parent = id;
        }
    }

    /// Drops everything that `slot` holds: it restarted cold, or left.
    pub fn forget(&mut self, slot: Slot) {
        while let Some(run) = self.oldest(slot) {
            self.release(slot, run, usize::MAX);
        }
    }

    /// Cells held by `slot`, and its capacity.
    pub fn held(&self, slot: Slot) -> (usize, usize) {
        self.holdings.get(slot.index()).map_or((0, 0), |h| (h.cells, h.capacity))
    }

    /// Distinct cells in the tree.
    pub fn cells(&self) -> usize {
        self.runs.cells()
    }

    /// Bytes of memory that the tree has taken, without the allocator's own. Looks at every run.
    pub fn bytes(&self) -> usize {
        self.runs.bytes() + self.holdings.capacity() * size_of::<Holding>()
    }

    /// Visits every run depth first, parents before children, so that a receiver which keeps one chain can
    /// rebuild the tree.
    pub fn walk(&self, mut each: impl FnMut(Visit<'_>)) {
        let children = self.runs.by_parent();
        let of = |parent: RunId| {
            let start = children.partition_point(|(of, _)| *of < parent);
            let rest = children.get(start..).unwrap_or_default();
            rest.iter().take_while(move |(of, _)| *of == parent).map(|(_, id)| *id)
        };
        let mut open: Vec<(RunId, usize)> = of(NO_RUN).map(|id| (id, 0)).collect();
        while let Some((id, depth)) = open.pop() {
            let Some(run) = self.runs.get(id) else { continue };
            each(Visit { depth, cells: run.cells(), holders: run.holders() });
            let below = depth + run.cells().len();
            open.extend(of(id).map(|id| (id, below)));
        }
    }

    /// Follows `chain` to its end, opening a run where it is new and splitting one where it leaves it.
    ///
    /// Where it meets a run at another place in the tree than the run's own, the hashes are not those of a
    /// chain, or two of them collide: the path ends there.
    fn descend(&mut self, slot: Slot, chain: &[CellHash], path: &mut Vec<Step>) {
        let mut at = 0;
        let mut parent = NO_RUN;
        while let Some(rest) = chain.get(at..).filter(|rest| !rest.is_empty()) {
            let Some((id, run)) = rest.first().and_then(|head| self.runs.below(parent, *head)) else {
                if let Some(run) = self.runs.open(rest, parent) {
                    path.push(Step { run, covered: length16(rest.len()) });
                }
                return;
            };
            let same = common(run.cells(), rest);
            // Cells behind the chain's end stay as old as they are, so they need a run of their own.
            let is_ending = same == rest.len();
            let has_more = run.holder(slot).is_some_and(|holder| usize::from(holder.held) > same);
            let is_split = same < run.cells().len() && (!is_ending || has_more);
            let run = if is_split { self.split(id, same) } else { Some(id) };
            let Some(run) = run else { return };
            path.push(Step { run, covered: length16(same) });
            parent = run;
            at += same;
        }
    }

    /// Cuts a run after `at` cells and returns the upper part, which is new. `None`: the lower part's head
    /// is another run's already.
    fn split(&mut self, id: RunId, at: usize) -> Option<RunId> {
        let upper = self.runs.cut(id, at)?;
        let cut = length16(at);
        let holders = self.runs.get_mut(id).map(runs::Run::take_holders).unwrap_or_default();
        for holder in &holders {
            let is_in_both = holder.held > cut;
            if is_in_both && let Some(lower) = self.runs.get_mut(id) {
                lower.add_holder(Holder { held: holder.held - cut, ..*holder });
            }
            if let Some(upper) = self.runs.get_mut(upper) {
                upper.add_holder(Holder { held: holder.held.min(cut), ..*holder });
            }
            // Both were used at once, and the tail goes first.
            if is_in_both {
                self.insert_newer(holder.slot, id, upper);
            } else {
                self.replace(holder, upper);
            }
        }
        Some(upper)
    }

    /// Makes `slot` hold the covered part of a run, as its most recently used.
    fn hold(&mut self, slot: Slot, step: Step, now: Moment) {
        let Some(run) = self.runs.get_mut(step.run) else { return };
        let gained = if let Some(holder) = run.holder_mut(slot) {
            let gained = step.covered.saturating_sub(holder.held);
            self.gaps.note(now.seconds_since(holder.touched), step.covered - gained);
            holder.held += gained;
            holder.touched = now;
            self.unlink(slot, step.run);
            gained
        } else {
            run.add_holder(Holder::new(slot, step.covered, now));
            step.covered
        };
        self.push_newest(slot, step.run);
        self.holding(slot).cells += usize::from(gained);
    }

    fn evict(&mut self, slot: Slot) {
        loop {
            let (cells, capacity) = self.held(slot);
            let Some(excess) = cells.checked_sub(capacity).filter(|excess| *excess > 0) else { return };
            let Some(oldest) = self.oldest(slot) else { return };
            self.release(slot, oldest, excess);
        }
    }

    /// Takes up to `cells` cells of a run away from `slot`, from the tail. Must be its oldest run: an older
    /// one would stay behind without what comes before it.
    fn release(&mut self, slot: Slot, id: RunId, cells: usize) {
        let Some(holder) = self.runs.get_mut(id).and_then(|run| run.holder_mut(slot)) else { return };
        let taken = usize::from(holder.held).min(cells);
        holder.held -= length16(taken);
        if holder.held == 0 {
            self.unlink(slot, id);
            if let Some(run) = self.runs.get_mut(id) {
                run.remove_holder(slot);
            }
        }
        self.runs.trim(id);
        let holding = self.holding(slot);
        holding.cells = holding.cells.saturating_sub(taken);
    }

    fn holding(&mut self, slot: Slot) -> &mut Holding {
        if self.holdings.len() <= slot.index() {
            self.holdings.resize_with(slot.index() + 1, Holding::default);
        }
        #[expect(clippy::indexing_slicing, reason = "the table was just grown to hold the slot")]
        &mut self.holdings[slot.index()]
    }
}

fn of_slot(found: &mut [Match], slot: Slot) -> Option<&mut Match> {
    let at = found.binary_search_by_key(&slot, |entry| entry.slot).ok()?;
    found.get_mut(at)
}
