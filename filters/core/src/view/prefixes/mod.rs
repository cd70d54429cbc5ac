//! Who holds which prefix: a radix tree of chains, compressed: a node is cells that follow each other
//! without a branch.
//!
//! A cell hash names a whole prefix, so two chains are compared without their text. A conversation's turn adds one node, whatever its length: the tree costs
//! little more than eight bytes a cell, and a lookup one probe a turn and a search in each node. The obvious
//! map from every cell to its holders costs three times the memory and one probe a cell.
//!
//! Each endpoint's holdings are bounded by what its own KV tiers hold and evicted as engines do, cell by cell:
//! least recently used first, and of cells used together the tail first. Hence what the rest relies on:
//! an endpoint that holds a node holds all before it, and a node is as long as its longest holding.

mod age;
mod loss;
mod nodes;
mod recency;

pub use nodes::Holder;

use crate::ids::{CellHash, Slot};
use crate::limits::CELLS_PER_PROMPT_MAX;
use crate::num::u32_len;
use crate::time::Timestamp;
use crate::view::Match;
use age::{Gaps, Moment};
use nodes::{NO_NODE, NodeId, Nodes, common, length16};
use recency::Holding;

/// The tree, with the holdings of every endpoint.
#[derive(Clone, Debug)]
pub struct Prefixes {
    nodes: Nodes,
    holdings: Vec<Holding>,
    path: Vec<Step>,
    gaps: Gaps,
    /// Memory that the holdings of one endpoint may take, in bytes.
    bytes_max: usize,
}

/// One node met in a depth-first walk; see [`Prefixes::walk`].
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    /// Cells before this node in its chain.
    pub depth: usize,
    /// The node's cells.
    pub cells: &'a [u64],
    /// Its holders, by slot.
    pub holders: &'a [Holder],
}

/// One node on the path of the chain being learned, and how much of it the chain covers.
#[derive(Clone, Copy, Debug)]
struct Step {
    node: NodeId,
    covered: u16,
}

// === impl Prefixes ===

impl Prefixes {
    /// An empty tree; `seed` is random bits that no client knows (`nodes.rs` says why).
    pub fn new(seed: u64) -> Self {
        let gaps = Gaps::default();
        Self { nodes: Nodes::new(seed), holdings: Vec::new(), path: Vec::new(), gaps, bytes_max: usize::MAX }
    }

    /// Sets how many cells an endpoint can hold, evicting what no longer fits. It is zero until set.
    pub fn set_capacity(&mut self, slot: Slot, cells: usize) {
        self.holding(slot).capacity = cells;
        self.evict(slot);
    }

    /// Sets how much memory the holdings of each endpoint may take, in bytes: many short prompts take more than few long ones
    /// of as many cells. It is not bounded until set.
    pub fn set_bytes_max(&mut self, bytes: usize) {
        self.bytes_max = bytes;
    }

    /// Records that `slot` holds the chain, up to [`CELLS_PER_PROMPT_MAX`], as its most recently used.
    pub fn learn(&mut self, slot: Slot, chain: &[CellHash], now: Timestamp) {
        self.insert(slot, chain, now, true);
    }

    /// The same of what another process knows, as in a snapshot. It teaches nothing about the time between two uses:
    /// what comes before each part is named again with every part.
    pub fn restore(&mut self, slot: Slot, chain: &[CellHash], now: Timestamp) {
        self.insert(slot, chain, now, false);
    }

    /// How far each endpoint follows `chain`: one entry for each endpoint that holds its first cell, by
    /// slot. `found` is cleared first.
    pub fn find(&self, chain: &[CellHash], found: &mut Vec<Match>) {
        found.clear();
        let mut at = 0;
        let mut parent = NO_NODE;
        while let Some((id, node)) = chain.get(at).and_then(|head| self.nodes.child(parent, *head)) {
            let same = common(node.cells(), chain.get(at..).unwrap_or_default());
            let depth = u32_len(at);
            let covered = u32_len(same);
            let cells = |holder: &Holder| u32::from(holder.held).min(covered);
            let mut is_held_on = at == 0;
            if at == 0 {
                found.extend(node.holders().iter().map(|holder| Match::on_gpu(holder.slot, cells(holder))));
            } else {
                for holder in node.holders() {
                    if let Some(entry) = of_slot(found, holder.slot).filter(|entry| entry.cells == depth) {
                        entry.cells += cells(holder);
                        is_held_on = true;
                    }
                }
            }
            if same < node.cells().len() || !is_held_on {
                break;
            }
            at += same;
            parent = id;
        }
    }

    /// Cells from the first that `chain` shares with another one that goes on differently, whoever holds that.
    pub fn shared(&self, chain: &[CellHash]) -> u32 {
        let (mut at, mut shared, mut parent) = (0, 0, NO_NODE);
        while let Some((id, node)) = chain.get(at).and_then(|head| self.nodes.child(parent, *head)) {
            let same = common(node.cells(), chain.get(at..).unwrap_or_default());
            let is_whole = same == node.cells().len();
            at += same;
            let next = chain.get(at);
            // Whether others go on behind its cells in another way than the chain.
            let is_branch = match next {
                Some(next) if is_whole => node.branches_but(self.nodes.child(id, *next).is_some()),
                Some(_) => true,
                None => is_whole && node.branches_but(true),
            };
            if is_branch {
                shared = at;
            }
            if !is_whole {
                break;
            }
            parent = id;
        }
        u32_len(shared)
    }

    /// Drops everything that `slot` holds: it restarted cold, or left.
    pub fn forget(&mut self, slot: Slot) {
        while let Some(node) = self.oldest(slot) {
            self.release(slot, node, usize::MAX);
        }
    }

    /// Cells held by `slot`, and its capacity.
    pub fn held(&self, slot: Slot) -> (usize, usize) {
        self.holdings.get(slot.index()).map_or((0, 0), |h| (h.cells, h.capacity))
    }

    /// Distinct cells in the tree.
    pub fn cells(&self) -> usize {
        self.nodes.cells()
    }

    /// Bytes of memory that the tree has taken, without the allocator's own. Looks at every node.
    pub fn bytes(&self) -> usize {
        self.nodes.bytes() + self.holdings.capacity() * size_of::<Holding>()
    }

    /// Visits every node depth first, parents before children, so that a receiver which keeps one chain can
    /// rebuild the tree.
    pub fn walk(&self, mut each: impl FnMut(Visit<'_>)) {
        let children = self.nodes.by_parent();
        let of = |parent: NodeId| {
            let start = children.partition_point(|(of, _)| *of < parent);
            let rest = children.get(start..).unwrap_or_default();
            rest.iter().take_while(move |(of, _)| *of == parent).map(|(_, id)| *id)
        };
        let mut open: Vec<(NodeId, usize)> = of(NO_NODE).map(|id| (id, 0)).collect();
        while let Some((id, depth)) = open.pop() {
            let Some(node) = self.nodes.get(id) else { continue };
            each(Visit { depth, cells: node.cells(), holders: node.holders() });
            let below = depth + node.cells().len();
            open.extend(of(id).map(|id| (id, below)));
        }
    }

    fn insert(&mut self, slot: Slot, chain: &[CellHash], now: Timestamp, is_use: bool) {
        let now = Moment::of(now.ms());
        let chain = chain.get(..CELLS_PER_PROMPT_MAX).unwrap_or(chain);
        let mut path = std::mem::take(&mut self.path);
        path.clear();
        self.descend(slot, chain, &mut path);
        // Tail first: of cells used together, the engine frees the last ones first.
        for step in path.iter().rev() {
            self.hold(slot, *step, now, is_use);
        }
        self.path = path;
        self.evict(slot);
    }

    /// Follows `chain` to its end, opening a node where it is new and splitting one where it leaves it.
    fn descend(&mut self, slot: Slot, chain: &[CellHash], path: &mut Vec<Step>) {
        let mut at = 0;
        let mut parent = NO_NODE;
        while let Some(rest) = chain.get(at..).filter(|rest| !rest.is_empty()) {
            let Some((id, node)) = rest.first().and_then(|head| self.nodes.child(parent, *head)) else {
                if let Some(node) = self.nodes.open(rest, parent) {
                    path.push(Step { node, covered: length16(rest.len()) });
                }
                return;
            };
            let same = common(node.cells(), rest);
            // Cells behind the chain's end stay as old as they are, so they need a node of their own.
            let is_ending = same == rest.len();
            let has_more = node.holder(slot).is_some_and(|holder| usize::from(holder.held) > same);
            let is_split = same < node.cells().len() && (!is_ending || has_more);
            let node = if is_split { self.split(id, same) } else { Some(id) };
            let Some(node) = node else { return };
            path.push(Step { node, covered: length16(same) });
            parent = node;
            at += same;
        }
    }

    /// Cuts a node after `at` cells, which leaves some, and returns the upper part, which is new.
    fn split(&mut self, id: NodeId, at: usize) -> Option<NodeId> {
        let upper = self.nodes.cut(id, at)?;
        let cut = length16(at);
        let holders = self.nodes.get_mut(id).map(nodes::Node::take_holders).unwrap_or_default();
        for holder in &holders {
            let is_in_both = holder.held > cut;
            if is_in_both && let Some(lower) = self.nodes.get_mut(id) {
                lower.add_holder(Holder { held: holder.held - cut, ..*holder });
            }
            if let Some(upper) = self.nodes.get_mut(upper) {
                upper.add_holder(Holder { held: holder.held.min(cut), ..*holder });
            }
            // Both were used at once, and the tail goes first.
            if is_in_both {
                self.holding(holder.slot).nodes += 1;
                self.insert_newer(holder.slot, id, upper);
            } else {
                self.replace(holder, upper);
            }
        }
        Some(upper)
    }

    /// Makes `slot` hold the covered part of a node, as its most recently used.
    fn hold(&mut self, slot: Slot, step: Step, now: Moment, is_use: bool) {
        let Some(node) = self.nodes.get_mut(step.node) else { return };
        let is_new = node.holder(slot).is_none();
        let gained = if let Some(holder) = node.holder_mut(slot) {
            let gained = step.covered.saturating_sub(holder.held);
            if is_use {
                self.gaps.note(now.seconds_since(holder.touched), step.covered - gained);
            }
            holder.held += gained;
            holder.touched = now;
            self.unlink(slot, step.node);
            gained
        } else {
            node.add_holder(Holder::new(slot, step.covered, now));
            step.covered
        };
        self.push_newest(slot, step.node);
        let holding = self.holding(slot);
        holding.cells += usize::from(gained);
        holding.nodes += usize::from(is_new);
    }

    fn evict(&mut self, slot: Slot) {
        loop {
            let Some(holding) = self.holdings.get(slot.index()) else { return };
            let excess = match holding.cells.checked_sub(holding.capacity) {
                None | Some(0) if holding.bytes() <= self.bytes_max => return,
                // Memory comes back with whole nodes.
                None | Some(0) => usize::MAX,
                Some(excess) => excess,
            };
            let Some(oldest) = self.oldest(slot) else { return };
            self.release(slot, oldest, excess);
        }
    }

    /// Takes up to `cells` cells of a node away from `slot`, from the tail. Must be its oldest node: an older
    /// one would stay behind without what comes before it.
    fn release(&mut self, slot: Slot, id: NodeId, cells: usize) {
        let Some(holder) = self.nodes.get_mut(id).and_then(|node| node.holder_mut(slot)) else { return };
        let taken = usize::from(holder.held).min(cells);
        holder.held -= length16(taken);
        let is_gone = holder.held == 0;
        if is_gone {
            self.unlink(slot, id);
            if let Some(node) = self.nodes.get_mut(id) {
                node.remove_holder(slot);
            }
        }
        self.nodes.trim(id);
        let holding = self.holding(slot);
        holding.cells = holding.cells.saturating_sub(taken);
        holding.nodes = holding.nodes.saturating_sub(usize::from(is_gone));
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
