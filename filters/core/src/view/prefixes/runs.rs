//! The runs themselves: an arena with a free list, and the way from a cell to the run that begins with it.

use super::age::Moment;
use crate::ids::{CellHash, Slot};
use crate::num::{index, u32_len};
use fnv::FnvHashMap;

/// Index of a run in the arena.
pub(super) type RunId = u32;
/// Stands for no run: the parent of a chain's first one, and the end of a list.
pub(super) const NO_RUN: RunId = u32::MAX;

/// All runs. Every one in use has a holder, and is found by its first cell.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs {
    arena: Vec<Run>,
    free: Vec<RunId>,
    heads: FnvHashMap<u64, RunId>,
    cells: usize,
}

/// Cells that follow each other without a branch.
#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    cells: Vec<u64>,
    /// By slot.
    holders: Vec<Holder>,
    parent: RunId,
    /// Cells before its first one.
    depth: u32,
}

/// One endpoint's share of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The endpoint.
    pub slot: Slot,
    /// Cells held, from the run's first.
    pub held: u16,
    /// When the endpoint last used it.
    pub(super) touched: Moment,
    /// The run that the endpoint used before this one.
    pub(super) older: RunId,
    /// The run that it used after this one.
    pub(super) newer: RunId,
}

// === impl Runs ===

impl Runs {
    pub(super) fn get(&self, id: RunId) -> Option<&Run> {
        self.arena.get(index(id))
    }

    pub(super) fn get_mut(&mut self, id: RunId) -> Option<&mut Run> {
        self.arena.get_mut(index(id))
    }

    /// Cells of all runs.
    pub(super) fn cells(&self) -> usize {
        self.cells
    }

    /// The run that begins with `head` and follows on `parent`.
    pub(super) fn below(&self, parent: RunId, head: CellHash) -> Option<(RunId, &Run)> {
        let id = *self.heads.get(&head.0)?;
        self.get(id).filter(|run| run.parent == parent).map(|run| (id, run))
    }

    /// Opens a run without holders. `None`: it would have no cells, or its first one is another run's.
    pub(super) fn open(&mut self, cells: &[CellHash], parent: RunId) -> Option<RunId> {
        let head = cells.first()?.0;
        if self.heads.contains_key(&head) {
            return None;
        }
        self.cells += cells.len();
        let depth = self.get(parent).map_or(0, |above| above.depth + u32_len(above.cells.len()));
        let cells = cells.iter().map(|cell| cell.0).collect();
        Some(self.store(head, Run { cells, holders: Vec::new(), parent, depth }))
    }

    /// Moves a run's first `at` cells into a new run, its parent from now on. Holders stay where they are.
    /// `None`: one part would be empty, or the lower one's first cell is another run's.
    pub(super) fn cut(&mut self, id: RunId, at: usize) -> Option<RunId> {
        let run = self.get(id)?;
        let (head, lower_head) = (*run.cells.first()?, *run.cells.get(at)?);
        let (parent, depth) = (run.parent, run.depth);
        if at == 0 || self.heads.contains_key(&lower_head) {
            return None;
        }
        let run = self.get_mut(id)?;
        let lower = run.cells.split_off(at);
        let mut upper = std::mem::replace(&mut run.cells, lower);
        upper.shrink_to_fit();
        let upper = self.store(head, Run { cells: upper, holders: Vec::new(), parent, depth });
        self.heads.insert(lower_head, id);
        let lower = self.get_mut(id)?;
        lower.parent = upper;
        lower.depth = depth + u32_len(at);
        Some(upper)
    }

    /// Cuts a run to its longest holding, and frees it if it has none.
    pub(super) fn trim(&mut self, id: RunId) {
        let Some(run) = self.get_mut(id) else { return };
        let longest = run.holders.iter().map(|holder| usize::from(holder.held)).max().unwrap_or(0);
        let lost = run.cells.len().saturating_sub(longest);
        if lost == 0 {
            return;
        }
        let head = run.cells.first().copied();
        run.cells.truncate(longest);
        if longest == 0 {
            *run = Run::default();
            self.free.push(id);
            if let Some(head) = head {
                self.heads.remove(&head);
            }
        } else if run.cells.capacity() > 2 * longest {
            run.cells.shrink_to_fit();
        }
        self.cells -= lost;
    }

    /// Every run with its parent, by parent.
    pub(super) fn by_parent(&self) -> Vec<(RunId, RunId)> {
        let mut pairs: Vec<(RunId, RunId)> =
            self.heads.values().filter_map(|id| Some((self.get(*id)?.parent, *id))).collect();
        pairs.sort_unstable();
        pairs
    }

    /// Bytes of memory taken. A hash table's bucket is an entry and a control byte, and an eighth of the
    /// buckets stay empty.
    pub(super) fn bytes(&self) -> usize {
        let runs: usize = self
            .arena
            .iter()
            .map(|run| run.cells.capacity() * size_of::<u64>() + run.holders.capacity() * size_of::<Holder>())
            .sum();
        runs + self.arena.capacity() * size_of::<Run>()
            + self.free.capacity() * size_of::<RunId>()
            + self.heads.capacity() * 8 / 7 * (size_of::<(u64, RunId)>() + 1)
    }

    fn store(&mut self, head: u64, run: Run) -> RunId {
        let id = if let Some(id) = self.free.pop() {
            if let Some(place) = self.get_mut(id) {
                *place = run;
            }
            id
        } else {
            self.arena.push(run);
            u32_len(self.arena.len() - 1)
        };
        self.heads.insert(head, id);
        id
    }
}

// === impl Run ===

impl Run {
    pub(super) fn cells(&self) -> &[u64] {
        &self.cells
    }

    pub(super) fn depth(&self) -> u32 {
        self.depth
    }

    pub(super) fn holders(&self) -> &[Holder] {
        &self.holders
    }

    pub(super) fn holder(&self, slot: Slot) -> Option<&Holder> {
        self.place(slot).ok().and_then(|at| self.holders.get(at))
    }

    pub(super) fn holder_mut(&mut self, slot: Slot) -> Option<&mut Holder> {
        self.place(slot).ok().and_then(|at| self.holders.get_mut(at))
    }

    pub(super) fn add_holder(&mut self, holder: Holder) {
        if let Err(at) = self.place(holder.slot) {
            if self.holders.capacity() == 0 {
                // Most runs have one holder; the usual first growth would make room for four.
                self.holders.reserve_exact(1);
            }
            self.holders.insert(at, holder);
        }
    }

    pub(super) fn remove_holder(&mut self, slot: Slot) {
        if let Ok(at) = self.place(slot) {
            self.holders.remove(at);
        }
    }

    pub(super) fn take_holders(&mut self) -> Vec<Holder> {
        std::mem::take(&mut self.holders)
    }

    fn place(&self, slot: Slot) -> Result<usize, usize> {
        self.holders.binary_search_by_key(&slot, |holder| holder.slot)
    }
}

// === impl Holder ===

impl Holder {
    pub(super) fn new(slot: Slot, held: u16, touched: Moment) -> Self {
        Self { slot, held, touched, older: NO_RUN, newer: NO_RUN }
    }
}

/// How many cells two sequences share from the first. Hashes are chained: where they are equal, all before
/// is equal too, so the last equal place can be searched for.
pub(super) fn common(run: &[u64], chain: &[CellHash]) -> usize {
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

/// Cells of a run, which is no longer than a chain.
pub(super) fn length16(cells: usize) -> u16 {
    u16::try_from(cells).unwrap_or(u16::MAX)
}
