//! Who holds which prefix: a radix tree of chains, compressed into runs of cells.
//!
//! A cell hash names a whole prefix, so a run is found by the hash of its first cell alone and two chains
//! are compared without their text. A conversation's turn adds one run, whatever its length: the tree costs
//! about eight bytes a cell, and a lookup one probe a turn and a search in each run. The obvious map from
//! every cell to its holders costs three times the memory and one probe a cell.
//!
//! Each endpoint's holdings are bounded by its own KV capacity and evicted as engines do: least recently
//! used first, and of chains used together the tail first. The recency queue is lazy: a touch appends, and
//! an entry whose stamp is no longer the holding's own is skipped when it comes up.

use crate::ids::{CellHash, Slot};
use crate::num::u32_len;
use fnv::FnvHashMap;
use std::collections::VecDeque;

/// Recency entries kept for each holding before the stale ones are swept out.
const RECENCY_SLACK: usize = 4;
/// Recency entries that are never worth a sweep.
const RECENCY_SWEEP_MIN: usize = 1024;

/// Index of a run in the tree's arena.
type RunId = u32;

/// The tree, with the holdings of every endpoint.
#[derive(Clone, Debug, Default)]
pub struct Prefixes {
    runs: Vec<Run>,
    free: Vec<RunId>,
    /// First cell of each run -> the run.
    heads: FnvHashMap<u64, RunId>,
    holdings: Vec<Holding>,
    stamp: u32,
    path: Vec<Step>,
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
    /// Its holders.
    pub holders: &'a [Holder],
}

/// One endpoint's share of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The endpoint.
    pub slot: Slot,
    /// Cells held, from the run's first.
    pub held: u16,
    stamp: u32,
}

#[derive(Clone, Debug, Default)]
struct Run {
    cells: Vec<u64>,
    holders: Vec<Holder>,
    /// The run's parent: only the walk that exports the tree needs it.
    parent: Option<RunId>,
}

#[derive(Clone, Debug, Default)]
struct Holding {
    cells: usize,
    capacity: usize,
    runs: usize,
    recency: VecDeque<(RunId, u32)>,
}

/// One run on the path of the chain being learned, and how much of it the chain covers.
#[derive(Clone, Copy, Debug)]
struct Step {
    run: RunId,
    covered: u16,
}

// === impl Prefixes ===

impl Prefixes {
    /// Sets how many cells an endpoint can hold, evicting what no longer fits.
    pub fn set_capacity(&mut self, slot: Slot, cells: usize) {
        self.holding(slot).capacity = cells;
        self.evict(slot);
    }

    /// Records that `slot` holds the whole chain, as its most recently used.
    pub fn learn(&mut self, slot: Slot, chain: &[CellHash]) {
        let mut path = std::mem::take(&mut self.path);
        path.clear();
        self.descend(chain, &mut path);
        // Tail first: of cells used together, the engine frees the last ones first.
        for step in path.iter().rev() {
            self.hold(slot, *step);
        }
        self.path = path;
        self.evict(slot);
        self.sweep(slot);
    }

    /// How far each endpoint follows `chain`: one entry for each endpoint that holds its first cell.
    /// `found` is cleared first.
    pub fn find(&self, chain: &[CellHash], found: &mut Vec<Match>) {
        found.clear();
        let mut at = 0;
        while let Some(run) = chain.get(at).and_then(|head| self.heads.get(&head.0)).and_then(|id| self.run(*id)) {
            let same = common(&run.cells, chain.get(at..).unwrap_or_default());
            let depth = u32_len(at);
            let mut is_held_on = false;
            for holder in &run.holders {
                let held = u32::from(holder.held).min(u32_len(same));
                if at == 0 {
                    found.push(Match { slot: holder.slot, cells: held });
                    is_held_on = true;
                } else if let Some(entry) = found.iter_mut().find(|m| m.slot == holder.slot && m.cells == depth) {
                    entry.cells += held;
                    is_held_on = true;
                }
            }
            if same < run.cells.len() || !is_held_on {
                break;
            }
            at += same;
        }
    }

    /// Drops everything that `slot` holds: it restarted cold, or left.
    pub fn forget(&mut self, slot: Slot) {
        let Some(holding) = self.holdings.get_mut(slot.index()) else { return };
        let recency = std::mem::take(&mut holding.recency);
        for (run, stamp) in recency {
            self.release(slot, run, stamp, usize::MAX);
        }
    }

    /// Cells held by `slot`, and its capacity.
    pub fn held(&self, slot: Slot) -> (usize, usize) {
        self.holdings.get(slot.index()).map_or((0, 0), |h| (h.cells, h.capacity))
    }

    /// Distinct cells in the tree.
    pub fn cells(&self) -> usize {
        self.heads.values().filter_map(|id| self.run(*id)).map(|run| run.cells.len()).sum()
    }

    /// Visits every run depth first, parents before children, so that a receiver which keeps one chain can
    /// rebuild the tree.
    pub fn walk(&self, mut each: impl FnMut(Visit<'_>)) {
        let mut children: FnvHashMap<Option<RunId>, Vec<RunId>> = FnvHashMap::default();
        for id in self.heads.values() {
            // A run whose parent was evicted is out of reach: nobody can match it any more.
            children.entry(self.run(*id).and_then(|run| run.parent)).or_default().push(*id);
        }
        let mut open: Vec<(RunId, usize)> =
            children.remove(&None).unwrap_or_default().into_iter().map(|id| (id, 0)).collect();
        while let Some((id, depth)) = open.pop() {
            let Some(run) = self.run(id) else { continue };
            each(Visit { depth, cells: &run.cells, holders: &run.holders });
            let below = depth + run.cells.len();
            open.extend(children.remove(&Some(id)).unwrap_or_default().into_iter().map(|id| (id, below)));
        }
    }

    /// Follows `chain` to its end, opening runs where it is new and splitting one where it leaves it.
    fn descend(&mut self, chain: &[CellHash], path: &mut Vec<Step>) {
        let mut at = 0;
        let mut parent = None;
        while let Some(head) = chain.get(at) {
            let rest = chain.get(at..).unwrap_or_default();
            let Some(id) = self.heads.get(&head.0).copied() else {
                let id = self.open(rest.iter().map(|cell| cell.0).collect(), parent);
                path.push(Step { run: id, covered: length16(rest.len()) });
                return;
            };
            let Some(run) = self.run(id) else { return };
            let same = common(&run.cells, rest);
            let run = if same < run.cells.len() && same < rest.len() { self.split(id, same) } else { id };
            path.push(Step { run, covered: length16(same) });
            parent = Some(run);
            at += same;
        }
    }

    fn open(&mut self, cells: Vec<u64>, parent: Option<RunId>) -> RunId {
        let head = cells.first().copied();
        let run = Run { cells, holders: Vec::new(), parent };
        let id = if let Some(id) = self.free.pop() {
            if let Some(place) = self.runs.get_mut(crate::num::index(id)) {
                *place = run;
            }
            id
        } else {
            self.runs.push(run);
            u32_len(self.runs.len() - 1)
        };
        if let Some(head) = head {
            self.heads.insert(head, id);
        }
        id
    }

    /// Cuts a run after `at` cells and returns the upper part, which is new: the lower part keeps its id,
    /// so that recency entries, which must be evicted before the upper part, go on to name it.
    fn split(&mut self, id: RunId, at: usize) -> RunId {
        let Some(run) = self.run_mut(id) else { return id };
        let lower = run.cells.split_off(at);
        let upper_cells = std::mem::replace(&mut run.cells, lower);
        let parent = run.parent;
        let cut = length16(at);
        let upper_holders: Vec<Holder> =
            run.holders.iter().map(|h| Holder { held: h.held.min(cut), ..*h }).collect();
        run.holders.retain_mut(|h| {
            h.held = h.held.saturating_sub(cut);
            h.held > 0
        });
        let lower_head = run.cells.first().copied();
        let lower_holders: Vec<Slot> = run.holders.iter().map(|h| h.slot).collect();
        let upper = self.open(upper_cells, parent);
        if let (Some(run), Some(head)) = (self.run_mut(id), lower_head) {
            run.parent = Some(upper);
            self.heads.insert(head, id);
        }
        for mut holder in upper_holders {
            holder.stamp = self.next_stamp();
            let holding = self.holding(holder.slot);
            holding.recency.push_back((upper, holder.stamp));
            if lower_holders.contains(&holder.slot) {
                holding.runs += 1;
            }
            if let Some(run) = self.run_mut(upper) {
                run.holders.push(holder);
            }
        }
        upper
    }

    /// Makes `slot` hold the covered part of a run, as its most recently used.
    fn hold(&mut self, slot: Slot, step: Step) {
        let stamp = self.next_stamp();
        let Some(run) = self.run_mut(step.run) else { return };
        let (gained, is_new) = if let Some(holder) = run.holders.iter_mut().find(|h| h.slot == slot) {
            let gained = step.covered.saturating_sub(holder.held);
            holder.held += gained;
            holder.stamp = stamp;
            (gained, false)
        } else {
            run.holders.push(Holder { slot, held: step.covered, stamp });
            (step.covered, true)
        };
        let holding = self.holding(slot);
        holding.cells += usize::from(gained);
        holding.runs += usize::from(is_new);
        holding.recency.push_back((step.run, stamp));
    }

    fn evict(&mut self, slot: Slot) {
        while let Some(holding) = self.holdings.get_mut(slot.index()) {
            let Some(excess) = holding.cells.checked_sub(holding.capacity).filter(|excess| *excess > 0) else {
                return;
            };
            let Some((run, stamp)) = holding.recency.pop_front() else { return };
            self.release(slot, run, stamp, excess);
        }
    }

    /// Takes up to `cells` cells of a run away from `slot`, from the tail, if the recency entry is current.
    fn release(&mut self, slot: Slot, id: RunId, stamp: u32, cells: usize) {
        let Some(run) = self.run_mut(id) else { return };
        let Some(at) = run.holders.iter().position(|h| h.slot == slot && h.stamp == stamp) else { return };
        let Some(holder) = run.holders.get_mut(at) else { return };
        let taken = usize::from(holder.held).min(cells);
        holder.held -= length16(taken);
        let is_empty = holder.held == 0;
        if is_empty {
            run.holders.swap_remove(at);
        }
        let head = run.cells.first().copied();
        let is_unheld = run.holders.is_empty();
        let holding = self.holding(slot);
        holding.cells = holding.cells.saturating_sub(taken);
        if is_empty {
            holding.runs = holding.runs.saturating_sub(1);
        } else {
            holding.recency.push_front((id, stamp));
        }
        if is_unheld {
            if let Some(head) = head {
                self.heads.remove(&head);
            }
            if let Some(run) = self.run_mut(id) {
                *run = Run::default();
            }
            self.free.push(id);
        }
    }

    /// Drops stale recency entries once they outnumber the live ones.
    fn sweep(&mut self, slot: Slot) {
        let Some(holding) = self.holdings.get_mut(slot.index()) else { return };
        let bound = (holding.runs * RECENCY_SLACK).max(RECENCY_SWEEP_MIN);
        if holding.recency.len() <= bound {
            return;
        }
        let mut recency = std::mem::take(&mut holding.recency);
        recency.retain(|(id, stamp)| {
            self.run(*id).is_some_and(|run| run.holders.iter().any(|h| h.slot == slot && h.stamp == *stamp))
        });
        self.holding(slot).recency = recency;
    }

    fn holding(&mut self, slot: Slot) -> &mut Holding {
        if self.holdings.len() <= slot.index() {
            self.holdings.resize_with(slot.index() + 1, Holding::default);
        }
        #[expect(clippy::indexing_slicing, reason = "the table was just grown to hold the slot")]
        &mut self.holdings[slot.index()]
    }

    fn run(&self, id: RunId) -> Option<&Run> {
        self.runs.get(crate::num::index(id))
    }

    fn run_mut(&mut self, id: RunId) -> Option<&mut Run> {
        self.runs.get_mut(crate::num::index(id))
    }

    fn next_stamp(&mut self) -> u32 {
        self.stamp = self.stamp.wrapping_add(1);
        self.stamp
    }
}

/// How many cells two sequences share from the first. Hashes are chained: where they are equal, all before
/// is equal too, so the last equal place can be searched for.
fn common(run: &[u64], chain: &[CellHash]) -> usize {
    let mut low = 0;
    let mut high = run.len().min(chain.len());
    while low < high {
        let middle = (low + high).div_ceil(2);
        let same = match (run.get(middle - 1), chain.get(middle - 1)) {
            (Some(a), Some(b)) => *a == b.0,
            _ => false,
        };
        if same { low = middle } else { high = middle - 1 }
    }
    low
}

/// A run's length; chains are bounded well below 2^16 cells.
fn length16(cells: usize) -> u16 {
    u16::try_from(cells).unwrap_or(u16::MAX)
}
