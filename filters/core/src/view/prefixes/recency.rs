//! In what order each endpoint used its nodes: a doubly linked list for each slot, through the holders of its
//! nodes.
//!
//! The links are the ids of nodes, since a slot has one holder in each: no further node, no allocation, and
//! a node that is split takes its place in the middle of every holder's list. A queue with stamps cannot do
//! that: a part that is put at its end outlives what comes before it in the chain.

use super::Prefixes;
use super::nodes::{Holder, NO_NODE, NodeId};
use crate::ids::Slot;

/// Memory that a node takes besides its cells, with its holder and its place in the map, in bytes.
const NODE_BYTES: usize = 128;

/// What one endpoint holds, and may hold.
#[derive(Clone, Debug)]
pub(super) struct Holding {
    pub(super) cells: usize,
    pub(super) capacity: usize,
    /// Nodes that it holds some of.
    pub(super) nodes: usize,
    oldest: NodeId,
    newest: NodeId,
}

// === impl Holding ===

impl Default for Holding {
    fn default() -> Self {
        Self { cells: 0, capacity: 0, nodes: 0, oldest: NO_NODE, newest: NO_NODE }
    }
}

impl Holding {
    /// Memory that it takes in the tree, in bytes; what several endpoints hold counts for each of them.
    pub(super) fn bytes(&self) -> usize {
        self.cells * size_of::<u64>() + self.nodes * NODE_BYTES
    }
}

// === impl Prefixes ===

impl Prefixes {
    /// The node that `slot` has not used for the longest time.
    pub(super) fn oldest(&self, slot: Slot) -> Option<NodeId> {
        self.holdings.get(slot.index()).map(|holding| holding.oldest).filter(|id| *id != NO_NODE)
    }

    /// Takes a node out of the list. Its holder must still be there.
    pub(super) fn unlink(&mut self, slot: Slot, id: NodeId) {
        if let Some((older, newer)) = self.links(slot, id) {
            self.join(slot, older, newer);
        }
    }

    /// Appends a node that is not in the list.
    pub(super) fn push_newest(&mut self, slot: Slot, id: NodeId) {
        let newest = self.holding(slot).newest;
        self.join(slot, newest, id);
        self.join(slot, id, NO_NODE);
    }

    /// Puts `newer`, which is not in the list, behind `id`, which is.
    pub(super) fn insert_newer(&mut self, slot: Slot, id: NodeId, newer: NodeId) {
        if let Some((_, next)) = self.links(slot, id) {
            self.join(slot, id, newer);
            self.join(slot, newer, next);
        }
    }

    /// Puts a node in the place of another one, whose holder was `holder`.
    pub(super) fn replace(&mut self, holder: &Holder, id: NodeId) {
        self.join(holder.slot, holder.older, id);
        self.join(holder.slot, id, holder.newer);
    }

    fn links(&self, slot: Slot, id: NodeId) -> Option<(NodeId, NodeId)> {
        self.nodes.get(id)?.holder(slot).map(|holder| (holder.older, holder.newer))
    }

    /// Makes two nodes neighbours; [`NO_NODE`] stands for the list's end.
    fn join(&mut self, slot: Slot, older: NodeId, newer: NodeId) {
        match self.nodes.get_mut(older).and_then(|node| node.holder_mut(slot)) {
            Some(holder) => holder.newer = newer,
            None => self.holding(slot).oldest = newer,
        }
        match self.nodes.get_mut(newer).and_then(|node| node.holder_mut(slot)) {
            Some(holder) => holder.older = older,
            None => self.holding(slot).newest = older,
        }
    }
}
